"""Every key of a sweep file and of the configuration as Markdown tables, made from the classes that declare them.

    python -m ablations.reference > docs/sweep-file-keys.md

Meanings are the texts under the fields. In which stages a key counts is found by changing it and looking at what the
stages then hold, so the tables cannot disagree with what planning does.
"""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import ablations.sweep
import ablations.sweep_file
import mm1core.config
from ablations.border import words
from ablations.configuration import FILLED_IN, Leaf, leaves
from ablations.identity import canonical_json
from ablations.schema import documentation, leaf_documentation
from ablations.stages import Chains
from ablations.sweep import DESIGNS, Objective, Range, Resources
from ablations.sweep_file import SweepFile
from mm1core.config import (
    Config,
    ConnectorConfig,
    DataConfig,
    EncoderConfig,
    EncoderTrainingConfig,
    EvaluationConfig,
    FilesConfig,
    OptimisationConfig,
)
from mm1core.stages import KINDS

_INTRODUCTION = """\
# The keys of a sweep file

Made by `python -m ablations.reference > docs/sweep-file-keys.md`; [sweep-file.md](sweep-file.md) explains them.

## The sweep
"""
_CONFIGURATION = """
Keys of `set`, of `axes` and of configuration files. **Counts in** names the stages whose own key changes with the
value; everything after them in the chain follows, because a key holds the keys of its inputs. *content*: the name of
the file does not count, what is in it does. *no*: the value changes how work is run and not its result; it can be set,
and it is no axis. A key that belongs to one kind, objective or optimizer counts with that one alone."""


def reference() -> str:
    """The whole document."""
    return "\n".join([_INTRODUCTION, *_sweep(), "\n## The configuration", _CONFIGURATION, *_configuration()]).rstrip()


def _sweep() -> Iterator[str]:
    yield from _class_table(SweepFile, documentation(ablations.sweep_file)["SweepFile"])
    for title, kind in (
        ("`objective`", Objective),
        ("`resources`", Resources),
        ("A range of an axis", Range),
        *((f"`design: {{kind: {name}, ...}}`", kind) for name, kind in DESIGNS.items() if fields(kind)),
    ):
        yield f"\n### {title}\n"
        yield from _class_table(kind, documentation(ablations.sweep)[kind.__name__], hidden=("integer",))


def _configuration() -> Iterator[str]:
    sections: dict[str, list[Leaf]] = {}
    for key, leaf in leaves().items():
        sections.setdefault(key.rpartition(".")[0], []).append(leaf)
    for section, inside in sections.items():
        yield f"\n### {section}\n"
        yield f"{' '.join((inside[0].owner.__doc__ or '').split())}\n"
        yield from _header("key", "type", "default", "counts in", "meaning")
        for leaf in inside:
            default, meaning = _shown(leaf.default), leaf_documentation(leaf)
            yield _row(f"`{leaf.key}`", words(leaf.annotation), default, _counts(leaf), meaning)
    yield "\n### A source in data.sources\n"
    yield f"{' '.join((FilesConfig.__doc__ or '').split())} Everything here counts in the stage `corpus` of the source"
    yield "but `paths`: of the files their content counts.\n"
    yield from _class_table(FilesConfig, documentation(mm1core.config)["FilesConfig"], hidden=FILLED_IN)


def _class_table(kind: type, docs: Mapping[str, str], *, hidden: tuple[str, ...] = ()) -> Iterator[str]:
    hints = get_type_hints(kind)
    yield from _header("key", "type", "default", "meaning")
    assert is_dataclass(kind)
    for item in fields(kind):
        if item.name not in hidden:
            made = item.default_factory() if item.default_factory is not MISSING else item.default
            default = "required" if made is MISSING else "" if is_dataclass(made) else _shown(made)
            yield _row(f"`{item.name}`", words(hints[item.name]), default, docs.get(item.name, ""))


def _header(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("``", "`").replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Any) -> str:
    return f"`{json.dumps(value)}`" if value not in ({}, (), "") else "empty"


def _counts(leaf: Leaf) -> str:
    stages = _stages_that_hold(leaf)
    if stages:
        return ", ".join(stages)
    return "content" if any(item.name in FILLED_IN for item in fields(leaf.owner)) else "no"


def _stages_that_hold(leaf: Leaf) -> list[str]:
    """The kinds of stages whose own configuration changes with the leaf, from any of the starts."""
    changed = set()
    for start in _starts():
        config = deepcopy(start)
        section: Any = config
        *above, name = leaf.key.split(".")
        for part in above:
            section = getattr(section, part)
        # Bypasses the checks of a section: only what the stages then hold is looked at.
        object.__setattr__(section, name, _other(leaf, getattr(section, name)))
        before, after = _texts(start), _texts(config)
        changed |= {kind for kind in before if before[kind] != after[kind]}
    return [kind for kind in KINDS if kind in changed]


@cache
def _starts() -> tuple[Config, ...]:
    """Configurations of which at least one lets each key have its effect."""
    files = FilesConfig(format="webdataset", paths=("a.tar",), fingerprint="a")
    return (
        Config(),
        Config(
            encoder=EncoderConfig(training=EncoderTrainingConfig(source="captions")),
            data=DataConfig(sources={"captions": files}, mix={"captions": 1.0}),
            evaluation=EvaluationConfig(tasks=("captioning",)),
        ),
        Config(
            encoder=EncoderConfig(objective="aim"),
            connector=ConnectorConfig(kind="attention_pool"),
            optimisation=OptimisationConfig(optimizer="adamw"),
        ),
        Config(connector=ConnectorConfig(kind="c_abstractor")),
    )


def _texts(config: Config) -> dict[str, str]:
    """What each kind of stage holds, as it enters the key."""
    return {stage.kind: canonical_json(stage.config) for stage in Chains().chain(config, 0)}


def _other(leaf: Leaf, value: Any) -> Any:
    """A value of the leaf's type that is not ``value``."""
    if leaf.name == "sources":
        return {name: FilesConfig(format=one.format, paths=one.paths, fingerprint="b") for name, one in value.items()}
    if leaf.name == "mix":
        return {"captions": 0.75, "interleaved": 0.25}
    annotation = leaf.annotation
    if get_origin(annotation) is Literal:
        return next(option for option in reversed(get_args(annotation)) if option != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return 1 if value == 0 else 4 * value if isinstance(value, int) else value / 2
    if isinstance(value, str):
        return "cpu" if leaf.name == "device" else value + "x"
    if isinstance(value, tuple):
        return ("count",) if isinstance(value[0], str) else tuple(item / 2 for item in value)
    if isinstance(value, Mapping):
        return {**value, "x": 1}
    return 1 if int in get_args(annotation) else "x"  # None


if __name__ == "__main__":
    print(reference())
