"""Reading sweep files: what is right is understood, what is wrong is named with its line and the nearest right word."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from sweep_files import planned, read, write

from ablations.data_files import RememberedDigests
from ablations.errors import Problem, SweepError, nearest
from ablations.plan import make_plan
from ablations.settings import presets
from ablations.sweep import Range, Search
from ablations.sweep_file import read_sweep
from ablations.yaml_lines import read_yaml
from mm1core.data.fingerprint import expand


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(SweepError) as caught:
        planned(folder, text)
    return caught.value.problems


def only(folder: Path, text: str) -> Problem:
    found = problems(folder, text)
    assert len(found) == 1, found
    return found[0]


def test_a_whole_sweep(tmp_path):
    sweep = read(
        tmp_path,
        """
        name: connector
        title: Connectors
        base: micro
        set: {data.mix: {captions: 1}, training: {steps: 7}}
        axes:
          connector.kind: [average_pool, c_abstractor]
          image.resolution, connector.num_tokens:
            small: [16, 4]
            large: [48, 9]
        design: grid
        constraints: ["connector.num_tokens <= image.num_patches"]
        seeds: [0, 5]
        objective: {metric: eval/zero_shot, direction: minimize}
        resources: {gpus: 1, cpus: 8, memory: 64G, time: "4:00:00"}
        figures: [connector]
        baseline: {connector.kind: c_abstractor, "image.resolution,connector.num_tokens": large}
        """,
    )
    assert (sweep.name, sweep.title, sweep.seeds) == ("connector", "Connectors", (0, 5))
    assert sweep.base["training.steps"] == 7
    assert sweep.base["data.mix"] == {"captions": 1.0}
    assert [axis.keys for axis in sweep.axes] == [("connector.kind",), ("image.resolution", "connector.num_tokens")]
    assert [value.label for value in sweep.axes[1].values] == ["small", "large"]
    assert sweep.axes[1].values[0].values == {"image.resolution": 16, "connector.num_tokens": 4}
    assert (sweep.objective.metric, sweep.objective.direction) == ("eval/zero_shot", "minimize")
    assert (sweep.resources.gpus, sweep.resources.memory, sweep.resources.time) == (1, "64G", "4:00:00")
    assert sweep.baseline == {"connector.kind": "c_abstractor", "image.resolution, connector.num_tokens": "large"}


def test_a_time_without_quotes_is_not_a_number_of_minutes(tmp_path):
    sweep = read(tmp_path, "name: a\naxes: {training.steps: [1]}\nresources: {time: 4:00:00}\n")
    assert sweep.resources.time == "4:00:00"


def test_exponents_and_whole_numbers_are_numbers(tmp_path):
    sweep = read(tmp_path, "name: a\naxes: {optimisation.learning_rate: [1e-3, 1, .5]}\n")
    assert [value.values["optimisation.learning_rate"] for value in sweep.axes[0].values] == [0.001, 1.0, 0.5]
    assert [value.label for value in sweep.axes[0].values] == ["0.001", "1", "0.5"]


def test_anchors_and_merge_keys_are_understood(tmp_path):
    sweep = read(
        tmp_path,
        """
        name: a
        set: {data.mix: &mix {captions: 1}}
        axes:
          data.mix:
            more: {<<: *mix, text: 1}
        """,
    )
    assert sweep.axes[0].values[0].values["data.mix"] == {"captions": 1.0, "text": 1.0}


def test_null_is_a_value(tmp_path):
    sweep = read(tmp_path, "name: a\naxes: {image.acuity: {sharp: null, blurred: 16}}\n")
    assert [value.values["image.acuity"] for value in sweep.axes[0].values] == [None, 16]


def test_search_with_ranges(tmp_path):
    sweep = read(
        tmp_path,
        """
        name: a
        set: {evaluation.every: 50}
        axes:
          optimisation.learning_rate: {low: 1e-4, high: 1e-2, log: true}
          decoder.layers: {low: 1, high: 4}
          connector.kind: [average_pool, attention_pool]
        design: {kind: search, arms: 12, sampler: gp, pruner: hyperband, seed: 3}
        """,
    )
    assert sweep.design == Search(arms=12, sampler="gp", pruner="hyperband", seed=3)
    assert sweep.axes[0].range == Range(low=1e-4, high=1e-2, log=True)
    assert sweep.axes[1].range == Range(low=1, high=4, integer=True)
    assert sweep.axes[2].range is None


@pytest.mark.parametrize("design", ["grid", "{kind: search, arms: 2}"])
def test_low_and_high_are_labels_beside_others(tmp_path, design):
    rates = "{low: 1e-4, middle: 1e-3, high: 1e-2}"
    sweep = read(tmp_path, f"name: a\naxes: {{optimisation.learning_rate: {rates}}}\ndesign: {design}\n")
    assert [value.label for value in sweep.axes[0].values] == ["low", "middle", "high"]


GOOD = "name: a\naxes: {training.steps: [1, 2]}\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "near"),
    [
        ("name: a\naxis: {training.steps: [1]}\naxes: {training.steps: [1]}\n", 2, "axis", "axes"),
        (GOOD + "seed: [1]\n", 3, "seed", "seeds"),
        ("name: a\naxes: {training.stepps: [1]}\n", 2, "axes.training.stepps", "training.steps"),
        ("name: a\naxes: {connector.tokens: [4]}\n", 2, "axes.connector.tokens", "connector.num_tokens"),
        (GOOD + "set:\n  conector.kind: average_pool\n", 4, "set.conector.kind", "connector.kind"),
        (GOOD + "set:\n  image:\n    resolutoin: 48\n", 5, "set.image.resolutoin", "image.resolution"),
        ("name: a\naxes:\n  connector.kind:\n  - average_pool\n  - avg_pool\n", 5,
         "axes.connector.kind.1", "average_pool"),
        (GOOD + "base: mikro\n", 3, "base", "micro"),
        (GOOD + "design: grdi\n", 3, "design", "grid"),
        (GOOD + "design: {kind: serach, arms: 3}\n", 3, "design", "search"),
        (GOOD + "design: {kind: random, arm: 3}\n", 3, "design.arm", "arms"),
        (GOOD + "objective: {metric: eval/for_shot}\n", 3, "objective.metric", "eval/four_shot"),
        (GOOD + "objective: {direction: maximise}\n", 3, "objective.direction", "maximize"),
        (GOOD + "figures: [conector]\n", 3, "figures.0", "connector"),
        (GOOD + "constraints: [conector.num_tokens < 3]\n", 3, "constraints.0", "connector.num_tokens"),
        ("name: a\naxes:\n  decoder.layers: {low: 1, high: 4, lgo: true}\ndesign: {kind: search, arms: 2}\n", 3,
         "axes.decoder.layers.lgo", "log"),
        (GOOD + "resources: {gpu: 1}\n", 3, "resources.gpu", "gpus"),
        (GOOD + "set:\n  data.mix: {captoins: 1}\n", 4, "set.data.mix.captoins", "captions"),
        (GOOD + "set:\n  evaluation.tasks: [color]\n", 4, "set.evaluation.tasks", "colour"),
        (GOOD + "design: grid\nbaseline: '11'\n", 4, "baseline", "1"),
        (GOOD + "set:\n  decoder.architecture: lama\n", 4, "set.decoder.architecture", "llama"),
        (GOOD + "set:\n  data.sources: {captions: {format: webdatset, paths: [a]}}\n", 4,
         "set.data.sources.captions.format", "webdataset"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_answered_with_the_nearest_right_one(tmp_path, text, line, key, near):
    found = only(tmp_path, text)
    assert (found.line, found.key, found.nearest) == (line, key, near)


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("axes: {training.steps: [1]}\n", 1, "name", "missing"),
        ("name: 'a b'\naxes: {training.steps: [1]}\n", 1, "name", "letter"),
        ("name: ../a\naxes: {training.steps: [1]}\n", 1, "name", "letter"),
        ("name: 3\naxes: {training.steps: [1]}\n", 1, "name", "text"),
        ("name: a\n", 1, "axes", "is missing"),
        ("name: a\naxes: {}\n", 2, "axes", "is empty"),
        ("name: a\naxes: {}\n", 2, "axes", "empty"),
        ("name: a\naxes: [training.steps]\n", 2, "axes", "mapping"),
        ("name: a\naxes:\n  training.steps: []\n", 3, "axes.training.steps", "no values"),
        ("name: a\naxes:\n  training.steps: {}\n", 3, "axes.training.steps", "no values"),
        ("name: a\naxes:\n  training.steps: 3\n", 3, "axes.training.steps", "list"),
        ("name: a\naxes:\n  training.steps: [1.5]\n", 3, "axes.training.steps.0", "integer"),
        ("name: a\naxes:\n  training.steps: ['3']\n", 3, "axes.training.steps.0", "integer"),
        ("name: a\naxes:\n  training.steps: [true]\n", 3, "axes.training.steps.0", "integer"),
        ("name: a\naxes:\n  encoder.frozen: [1]\n", 3, "axes.encoder.frozen.0", "true or false"),
        ("name: a\naxes:\n  connector.scale: [.inf]\n", 3, "axes.connector.scale.0", "finite"),
        ("name: a\naxes:\n  connector.scale: [.nan]\n", 3, "axes.connector.scale.0", "finite"),
        ("name: a\naxes:\n  training.steps: [1, 2, 1]\n", 3, "axes.training.steps.2", "twice"),
        ("name: a\naxes:\n  image.resolution: [48, 50]\n", 3, "axes.image.resolution.1", "divisible"),
        ("name: a\naxes:\n  connector.num_tokens: [8]\n", 3, "axes.connector.num_tokens.0", "square"),
        ("name: a\naxes:\n  connector.num_tokens: [144]\n", 3, "axes.connector.num_tokens.0", "36 patches"),
        ("name: a\naxes:\n  image.resolution: [16]\n", 3, "axes.image.resolution.0", "4 patches"),
        ("name: a\naxes:\n  data.mix: [{captions: 0, text: 0.0}]\n", 3, "axes.data.mix.0", "sums to 0"),
        ("name: a\naxes:\n  data.mix: [{captions: -1}]\n", 3, "axes.data.mix.0.captions", "negative"),
        ("name: a\naxes:\n  data.mix: [{captions: x}]\n", 3, "axes.data.mix.0.captions", "number"),
        ("name: a\naxes:\n  data.mix.text: [1]\n", 3, "axes.data.mix.text", "as a whole"),
        ("name: a\naxes:\n  seeds: [1]\n", 3, "axes.seeds", "replicates"),
        ("name: a\naxes:\n  training.device: [cpu]\n", 3, "axes.training.device", "not its result"),
        ("name: a\naxes:\n  connector: [1]\n", 3, "axes.connector", "section"),
        ("name: a\naxes:\n  image.resolution, connector.num_tokens: [[48]]\n", 3,
         "axes.image.resolution, connector.num_tokens.0", "list of 2"),
        ("name: a\naxes:\n  training.steps, training.steps: [[1, 2]]\n", 3,
         "axes.training.steps, training.steps", "twice"),
        ("name: a\naxes:\n  training.steps: [1]\n  training.steps, data.row_tokens: [[1, 160]]\n", 4,
         "axes.training.steps, data.row_tokens", "already"),
        ("name: a\naxes:\n  training.steps: {low: 1, high: 9, log: true}\n", 3, "axes.training.steps", "random"),
        ("name: a\naxes:\n  training.steps: {low: 1, high: 9}\ndesign: grid\n", 3, "axes.training.steps", "random"),
        ("name: a\naxes:\n  connector.scale: {low: 0, high: 1.0e+300, step: 1.0e-300}\n"
         "design: {kind: search, arms: 2}\n", 3, "axes.connector.scale", "more steps than"),
        ("name: a\naxes:\n  training.steps: {low: 9, high: 1}\ndesign: {kind: random, arms: 2}\n", 3,
         "axes.training.steps", "below"),
        ("name: a\naxes:\n  optimisation.weight_decay: {low: 0, high: 1, log: true}\n"
         "design: {kind: random, arms: 2}\n", 3,
         "axes.optimisation.weight_decay", "positive"),
        ("name: a\naxes:\n  connector.kind: {low: 0, high: 1}\ndesign: {kind: random, arms: 2}\n", 3,
         "axes.connector.kind", "not a number"),
        ("name: a\naxes:\n  training.steps: {low: 1, high: 9.5}\ndesign: {kind: random, arms: 2}\n", 3,
         "axes.training.steps", "integer"),
        (GOOD + "design: random\n", 3, "design.arms", "missing"),
        (GOOD + "design: {kind: random, arms: 0}\n", 3, "design.arms", "positive"),
        (GOOD + "design: {kind: search, arms: 3, pruner: median}\n", 3, "design.pruner", "evaluation.every"),
        (GOOD + "design: list\n", 2, "axes", "arms"),
        ("name: a\ndesign: list\n", 1, "arms", "at least one arm"),
        (GOOD + "arms: {a: {}}\n", 3, "arms", "list"),
        (GOOD + "baseline: '1'\n", 3, "baseline", "is the base"),
        (GOOD + "design: grid\nbaseline: {decoder.layers: 3}\n", 4, "baseline.decoder.layers", "not an axis"),
        (GOOD + "seeds: []\n", 3, "seeds", "empty"),
        (GOOD + "seeds: 3\n", 3, "seeds", "list"),
        (GOOD + "seeds: [0, 1, 0]\n", 3, "seeds.2", "twice"),
        (GOOD + "seeds: [-1]\n", 3, "seeds.0", "between"),
        (GOOD + "resources: {memory: 64}\n", 3, "resources.memory", "text"),
        (GOOD + "resources: {memory: lots}\n", 3, "resources.memory", "64G"),
        (GOOD + "resources: {time: '4'}\n", 3, "resources.time", "hours"),
        (GOOD + "figures: [connector]\n", 3, "figures.0", "connector.kind"),
        (GOOD + "figures: [data_mix]\n", 3, "figures.0", "data.mix"),
        (GOOD + "figures: [learning_rate]\n", 3, "figures.0", "optimisation.matrix_learning_rate"),
        ("name: a\naxes: {data.mix: [{captions: 1}]}\nfigures: [data_mix, data_mix]\n", 3, "figures.1", "twice"),
        (GOOD + "constraints: [image.resolution]\n", 3, "constraints.0", "true or false"),
        (GOOD + "constraints: ['1" + "0" * 400 + " / 3 > 1']\n", 3, "constraints.0", "no value"),
        (GOOD + "constraints: ['" + "-" * 5000 + "1 < 3']\n", 3, "constraints.0", "5,005 characters; allowed: 1,000"),
        (GOOD + "constraints: ['" + "-" * 990 + "1 < 3']\n", 3, "constraints.0", "recursion"),
        (GOOD + "set: {decoder.extra: {dropout: .nan}}\n", 3, "set.decoder.extra.dropout", "finite"),
        (GOOD + "set: {decoder.extra: {a: [1, -.inf]}}\n", 3, "set.decoder.extra.a.1", "finite"),
        (GOOD + "constraints: ['training.steps < 5']\n", 3, "constraints", "forbid"),
        (GOOD + "design: grid\nconstraints: ['training.steps > 5']\n", 4, "constraints", "no arm"),
        (GOOD + "constraints: ['image.acuity > 5']\n", 3, "constraints.0", "no value"),
        (GOOD + "constraints: [\"__import__('os').system('true')\"]\n", 3, "constraints.0", "not allowed"),
        (GOOD + "set: {data.mix: {captions: 1}, data: {mix: {text: 1}}}\n", 3, "set.data.mix", "twice"),
        (GOOD + "set: {connector: 3}\n", 3, "set.connector", "section"),
        (GOOD + "set: 3\n", 3, "set", "mapping"),
        (GOOD + "set: {data.tokenizer.fingerprint: x}\n", 3, "set.data.tokenizer.fingerprint", "not a key"),
        (GOOD + "set: {evaluation.shots: [0, 0]}\n", 3, "set.evaluation.shots", "distinct"),
        (GOOD + "set: {encoder.width: 65}\n", 3, "set.encoder.width", "divisible"),
        (GOOD + "set:\n  data.sources: {captions: {format: webdataset, paths: [none.tar]}}\n", 4,
         "set.data.sources.captions.paths", "matches no file"),
        (GOOD + "set:\n  data.sources: {captions: {format: webdataset}}\n", 4,
         "set.data.sources.captions.paths", "missing"),
        (GOOD + "set:\n  data.tokenizer.path: none.json\n", 4, "set.data.tokenizer.path", "matches no file"),
        (GOOD + "base: other/none.yaml\n", 3, "base", "no file"),
        (GOOD + "name: b\n", 3, "name", "twice"),
        ("name: a\naxes:\n  training.steps: [1\n", 4, None, "malformed"),
        ("name: a\n\taxes: 3\n", 2, None, "malformed"),
        ("- a\n- b\n", 1, None, "not a sweep"),
        ("", 1, None, "not a sweep"),
        ("name: a\n---\nname: b\n", 2, None, "malformed"),
        ("name: !python/object x\n", 1, "name", "tag"),
        ("name: a\nseeds: !!set 1\n", None, None, "does not fit"),
        ("name: a\n? axes: [a]\n", None, None, "does not fit"),
        ("name: a\ntitle: '\0'\n", 2, None, "#x0000"),
        ("name: a\nset: " + "[" * 3000, 2, None, "nested too deeply"),
        (GOOD + "set:\n  training.steps: 9223372036854775808\n", 4, "set.training.steps", "64 bits"),
        (GOOD + "set:\n  training.steps: " + "9" * 5000 + "\n", 4, None, "cannot be read"),
        (GOOD + "set:\n  training.steps: 2020-99-99\n", 4, None, "cannot be read"),
        ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{after}: &{after} [{', '.join(['*' + one] * 9)}]\n" for one, after in pairwise("abcdefghi")),
         None, None, "more than 250,000"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 100)), 1, None, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_key(tmp_path, text, line, key, said):
    found = only(tmp_path, text)
    assert (found.line, found.key) == (line, key)
    assert said in str(found)
    assert found.file == tmp_path / "sweep.yaml"


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path):
    found = problems(tmp_path, "name: a\nseed: 3\naxes: {training.steps: [x], a.b: [1]}\ndesign: grdi\nset: {c: 1}\n")
    assert [problem.line for problem in found] == [2, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: None, "no such file"),
        (lambda file: file.mkdir(), "folder"),
        (lambda file: file.write_bytes(b"name: \xff\xfe"), "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, make, said):
    file = tmp_path / "sweep.yaml"
    make(file)
    with pytest.raises(SweepError, match=said):
        read_sweep(file)


def test_a_file_name_that_is_nearly_right(tmp_path):
    write(tmp_path, GOOD, name="connector.yaml")
    with pytest.raises(SweepError) as caught:
        read_sweep(tmp_path / "conector.yaml")
    assert caught.value.problems[0].nearest == str(tmp_path / "connector.yaml")


def test_a_base_file_is_found_beside_the_sweep_and_can_extend_others(tmp_path):
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", "extends: small.yaml\ntraining: {steps: 5}\n", name="big.yaml")
    write(tmp_path / "configs", "extends: micro\ntraining: {steps: 2, rows_per_step: 4}\n", name="small.yaml")
    sweep = read(tmp_path, "name: a\nbase: configs/big.yaml\naxes: {decoder.layers: [1]}\n")
    assert (sweep.base["training.steps"], sweep.base["training.rows_per_step"]) == (5, 4)
    assert sweep.base["connector.num_tokens"] == 9


def test_mistakes_in_a_base_are_placed_there(tmp_path):
    base = write(tmp_path, "training:\n  steps: 5\n  rows: 3\n", name="base.yaml")
    found = only(tmp_path, "name: a\nbase: base.yaml\naxes: {decoder.layers: [1]}\n")
    assert (found.file, found.line, found.key) == (base, 3, "training.rows")
    write(tmp_path, "image: {resolution: 50}\n", name="base.yaml")
    found = only(tmp_path, "name: a\nbase: base.yaml\naxes: {decoder.layers: [1]}\n")
    assert (found.file, found.line, found.key) == (base, 1, "image.resolution")


def test_a_sweep_is_no_base(tmp_path):
    write(tmp_path, GOOD, name="other.yaml")
    found = only(tmp_path, "name: a\nbase: other.yaml\naxes: {decoder.layers: [1]}\n")
    assert (found.line, found.key) == (2, "base")
    assert "is a sweep" in found.problem


@pytest.mark.parametrize("key", ["axes", "set", "constraints"])
def test_a_long_mistake_is_not_repeated_whole(tmp_path, key):
    for long in ("[" + "connector, " * 2000 + "]", f"'{'connector + ' * 2000}'"):
        content = f"[{long}]" if key == "constraints" else long
        text = f"name: a\n{'' if key == 'axes' else 'axes: {decoder.layers: [1]}'}\n{key}: {content}\n"
        assert len(str(only(tmp_path, text))) < 500


def test_a_base_that_extends_itself(tmp_path):
    write(tmp_path, "extends: b.yaml\n", name="a.yaml")
    write(tmp_path, "extends: a.yaml\n", name="b.yaml")
    assert "itself" in str(only(tmp_path, "name: a\nbase: a.yaml\naxes: {decoder.layers: [1]}\n"))


@pytest.mark.parametrize("preset", sorted(presets()))
def test_presets_are_configurations_that_can_be_planned(tmp_path, preset):
    assert planned(tmp_path, f"name: a\nbase: {preset}\naxes: {{decoder.layers: [1]}}\n").arms


FILES = """
name: a
set:
  data.sources: {captions: {format: webdataset, paths: [data/*.tar]}}
  data.mix: {captions: 1}
  encoder.training.source: captions
  evaluation.tasks: [captioning]
axes: {decoder.layers: [1]}
"""


def test_data_files_are_found_beside_the_sweep_and_known_by_content(tmp_path):
    def trial(folder: Path, content: bytes) -> str:
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "a.tar").write_bytes(content)
        plan = planned(folder, FILES)
        assert plan.sweep.base["data.sources"]["captions"].paths == (str(folder / "data" / "*.tar"),)
        return plan.trials[0].key

    assert trial(tmp_path / "one", b"x") == trial(tmp_path / "two", b"x") != trial(tmp_path / "three", b"y")


def test_a_folder_may_have_letters_that_are_special_in_patterns(tmp_path):
    folder = tmp_path / "run [1]*"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.tar").write_bytes(b"x")
    sources = planned(folder, FILES).sweep.base["data.sources"]
    assert [path.name for path in expand(sources["captions"].paths, key="paths")] == ["a.tar"]


def test_the_worlds_tasks_cannot_be_asked_of_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.tar").write_bytes(b"x")
    found = only(tmp_path, FILES.replace("[captioning]", "[captioning, colour]"))
    assert (found.line, found.key) == (7, "set.evaluation.tasks")


def test_files_are_read_again_only_when_they_have_changed(tmp_path):
    (tmp_path / "data").mkdir()
    data = tmp_path / "data" / "a.tar"
    data.write_bytes(b"x")
    store = tmp_path / "store"

    def key() -> str:
        digests = RememberedDigests(store)
        plan = make_plan(read_sweep(write(tmp_path, FILES), digest_of=digests))
        digests.save()
        return plan.trials[0].key

    first = key()
    remembered = json.loads((store / "digests.json").read_text())
    (place,) = remembered
    (store / "digests.json").write_text(json.dumps({place: "another"}))
    assert key() != first  # what is remembered is believed
    data.write_bytes(b"xy")
    (store / "digests.json").write_text("not json")
    assert key() != first
    data.write_bytes(b"x")
    assert key() == first


def test_lines_of_nested_places(tmp_path):
    document = read_yaml(write(tmp_path, "a:\n  - x\n  - {b: 1,\n     c: 2}\nd: 3\n"))
    assert document.content == {"a": ["x", {"b": 1, "c": 2}], "d": 3}
    assert [document.line(place) for place in (("a",), ("a", 0), ("a", 1, "c"), ("a", 1, "z"), ("z",))] == [
        1,
        2,
        4,
        3,
        1,
    ]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("conector.kind", "connector.kind"),
        ("kind", "connector.kind"),
        ("Num-Tokens", "connector.num_tokens"),
        ("zzz", None),
    ],
)
def test_nearest(word, near):
    assert nearest(word, ["connector.kind", "connector.num_tokens"]) == near


@pytest.mark.parametrize(
    "text",
    [
        'name: x\naxes: {connector.kind: {"": average_pool, b: attention_pool}}',
        'name: x\narms: {" ": {connector.kind: attention_pool}}\ndesign: list',
    ],
)
def test_an_empty_label_is_refused(tmp_path, text):
    assert "label is empty" in only(tmp_path, text).problem


def test_a_margin_of_nothing_is_refused(tmp_path):
    assert only(tmp_path, "name: x\naxes: {training.steps: [1, 2]}\nmargin: 0").line == 3


def test_a_figure_without_its_axis_is_refused(tmp_path):
    problem = only(tmp_path, "name: x\naxes: {training.steps: [1, 2]}\nfigures: [connector]")
    assert (problem.line, "connector.kind" in problem.problem) == (3, True)


@pytest.mark.parametrize("text", ["name: !wrong [1, 2]\n", "a: " + "[" * 5_000, "- " * 5_000 + "a"])
def test_strange_yaml_is_a_mistake_with_a_place(tmp_path, text):
    assert problems(tmp_path, text)
