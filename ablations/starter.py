"""``ablate init``: a commented sweep to start from."""

from pathlib import Path

from ablations.errors import OK, BadInput

STARTER = """\
# A sweep: what is tried, how often, and which score counts.
#   ablate plan {file}     what it would run and cost; runs nothing
#   ablate run {file}      run it; running it again continues or reuses
# For completion in editors: ablate schema > sweep.schema.json
# yaml-language-server: $schema=sweep.schema.json

name: {name}
title: {name}

# The configuration that everything is compared with: a preset (micro: two CPU cores; mini: one GPU) or a YAML file.
base: micro

# Settings that change the base. Mappings such as data.mix are replaced as a whole.
set:
  training.steps: 300
  # One image encoder for all seeds; without this line every seed trains its own.
  encoder.seed: 0

# What varies. A value can have a label for figures and tables; keys joined by a comma vary together.
axes:
  data.mix:
    45/45/10: {{captions: 0.45, interleaved: 0.45, text: 0.10}}
    captions only: {{captions: 1}}
  connector.num_tokens: [9, 4]
  # image.resolution, connector.num_tokens:
  #   - [48, 9]
  #   - [24, 4]

# one_at_a_time: the base, and each value by itself. Also: grid, list (see arms), {{kind: random, arms: 20}},
# {{kind: search, arms: 30, sampler: tpe}}.
design: one_at_a_time

# Combinations that break one of these are left out.
constraints:
  - connector.num_tokens <= image.num_patches

# Every arm is trained and scored once for each seed; useful intervals need at least three.
seeds: [0, 1, 2]

objective: {{metric: eval/few_shot/mean, direction: maximize}}

# Figures in the style of the paper: connector, data_mix, encoder. Effects and tables are always made.
# figures: [data_mix]
"""


def init(path: Path, *, force: bool) -> int:
    """Write a starter sweep to ``path``. Raises ``BadInput`` if something is there and ``force`` is not given."""
    file = path / "sweep.yaml" if path.is_dir() else path
    if file.suffix not in (".yaml", ".yml"):
        raise BadInput(f"{file}: a sweep file ends in .yaml")
    if file.exists() and not force:
        raise BadInput(f"{file} exists; give another name, or --force to replace it")
    name = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-.") else "-" for letter in file.stem
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(STARTER.format(file=file, name=name), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from None
    print(f"Wrote {file}. Next: ablate plan {file}")
    return OK
