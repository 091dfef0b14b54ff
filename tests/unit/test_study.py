"""A search remembers what it tried, proposes the same whoever asks, and learns."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from ablations.errors import SweepError
from ablations.search_arms import SearchArm, arm_namer, mean_by_step, outcome, search_arms
from ablations.stages import Chains
from ablations.study import Study
from ablations.study_place import JOURNAL, JournalFile
from ablations.sweep import Sweep
from ablations.sweep_file import read_sweep

SAMPLERS = ("random", "tpe", "gp", "cmaes")
RATES = """
  optimisation.learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}
  optimisation.matrix_learning_rate: {low: 1.0e-4, high: 1.0e-1, log: true}"""
KINDS = """
  connector.kind: [average_pool, attention_pool, c_abstractor]"""
SIZES = """
  image.resolution, connector.num_tokens: {small: [16, 4], middle: [48, 4], large: [48, 9]}"""


def read(
    folder: Path, axes: str, *, sampler: str = "random", pruner: str = "none", arms: int = 12, more: str = ""
) -> Sweep:
    file = folder / "sweep.yaml"
    file.write_text(
        f"name: searched\naxes:{axes}\n"
        f"design: {{kind: search, arms: {arms}, sampler: {sampler}, pruner: {pruner}, seed: 3}}\n{more}"
    )
    return read_sweep(file)


def name(point: object) -> str:
    return json.dumps(point, sort_keys=True)


def score(arm: SearchArm) -> float:
    """Best, at 0, where both rates are 0.05: far from the middle, where CMA-ES begins."""
    rates = (arm.values["optimisation.learning_rate"], arm.values["optimisation.matrix_learning_rate"])
    return -sum((math.log10(rate) + 1.3) ** 2 for rate in rates)


def journal(folder: Path, sweep: Sweep) -> JournalFile:
    return JournalFile(folder / JOURNAL, sweep.name)


def opened(folder: Path, sweep: Sweep, arms: Sequence[SearchArm] = ()) -> Study:
    return Study.open(journal(folder, sweep), sweep, arms, warn=lambda text: pytest.fail(text))


def search(study: Study, *, together: int = 1, value: Callable[[SearchArm], float] = score) -> tuple[SearchArm, ...]:
    while asked := study.ask(together, name):
        for arm in asked:
            study.tell(arm.key, value(arm), "done")
    return study.arms


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_is_the_same_however_often_it_is_opened_again(tmp_path: Path, sampler: str) -> None:
    sweep = read(tmp_path, RATES + KINDS, sampler=sampler, arms=6 if sampler == "gp" else 12)
    (tmp_path / "other").mkdir()
    whole = search(opened(tmp_path, sweep), together=2)
    while asked := opened(tmp_path / "other", sweep).ask(2, name):
        for arm in asked:
            opened(tmp_path / "other", sweep).tell(arm.key, score(arm), "done")
    assert opened(tmp_path / "other", sweep).arms == whole
    assert len({arm.key for arm in whole}) == len(whole)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_kill_after_any_write_changes_nothing(tmp_path: Path, sampler: str) -> None:
    sweep = read(tmp_path, RATES, sampler=sampler, arms=7)
    whole = search(opened(tmp_path, sweep))
    content = (tmp_path / JOURNAL).read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for end in [*ends, *(end - 3 for end in ends)]:  # between two lines, and in the middle of one
        folder = tmp_path / f"killed-{end}"
        folder.mkdir()
        (folder / JOURNAL).write_bytes(content[:end])
        study = (
            opened(folder, sweep)
            if end > ends[2]
            else Study.open(journal(folder, sweep), sweep, [], warn=lambda text: None)
        )
        for arm in study.arms:
            if arm.state == "running":  # it was asked for and not told: no zombie, it is run
                study.tell(arm.key, score(arm), "done")
        assert search(study) == whole, end


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_lost_journal_is_made_anew_from_the_records(tmp_path: Path, sampler: str) -> None:
    sweep = read(tmp_path, RATES + KINDS, sampler=sampler, arms=12)
    study = opened(tmp_path, sweep)
    ends = ["done", "pruned", "failed", "diverged", "done", "done", "done", "done"]
    for state in ends:
        (arm,) = study.ask(1, name)
        study.report(arm.key, 50, score(arm))
        study.tell(arm.key, score(arm) if state == "done" else None, state)  # type: ignore[arg-type]
    (running,) = study.ask(1, name)
    study.report(running.key, 50, 0.1)
    before = study.arms
    (tmp_path / JOURNAL).unlink()
    again = opened(tmp_path, sweep, before)
    assert again.arms == before
    assert [arm.state for arm in again.arms] == [*ends, "running"]
    assert again.ask(2, name) == study_before(tmp_path, sweep, before)


def study_before(folder: Path, sweep: Sweep, arms: Sequence[SearchArm]) -> list[SearchArm]:
    """What a study that lived through all of it proposes next."""
    other = folder / "lived"
    other.mkdir()
    study = opened(other, sweep)
    for arm in arms:
        assert study.ask(1, name)[0].key == arm.key
        for step, value in arm.intermediate.items():
            study.report(arm.key, step, value)
        if arm.state != "running":
            study.tell(arm.key, arm.value, arm.state)
    return study.ask(2, name)


def test_a_damaged_journal_is_set_aside(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES, sampler="tpe", arms=6)
    before = search(opened(tmp_path, sweep))
    content = (tmp_path / JOURNAL).read_bytes()
    half = len(content) // 2
    for damaged in (content[:half] + b"\0\0{" + content[half:], b"no journal\n", b'{"op_code": 77}\n', b"[]\n"):
        (tmp_path / JOURNAL).write_bytes(damaged)
        said: list[str] = []
        assert Study.open(journal(tmp_path, sweep), sweep, before, warn=said.append).arms == before
        assert len(said) == 1
    assert (tmp_path / f"{JOURNAL}.corrupt-2").read_bytes() == b"no journal\n"
    assert opened(tmp_path, sweep, before).arms == before


def test_records_that_say_otherwise_win(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES, arms=4)
    arms = list(search(opened(tmp_path, sweep)))
    arms[1] = SearchArm(key=arms[1].key, values=arms[1].values, state="done", value=0.5)
    arms[2] = SearchArm(key=arms[2].key, values=arms[2].values, state="failed")
    assert opened(tmp_path, sweep, arms).arms == tuple(arms)
    assert opened(tmp_path, sweep).arms == tuple(arms)


def test_arms_that_only_the_journal_has_are_kept(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES, arms=6)
    study = opened(tmp_path, sweep)
    planned = study.ask(2, name)
    asked = study.ask(1, name)  # and killed before the plan was written
    assert opened(tmp_path, sweep, planned).arms == (*planned, *asked)


def test_values_of_another_base_or_other_seeds_do_not_count(tmp_path: Path) -> None:
    old = search(opened(tmp_path, read(tmp_path, RATES, arms=4)))
    for more in ("seeds: [0, 1]\n", "set: {training.steps: 400}\n", "objective: {metric: eval/text_core}\n"):
        changed = read(tmp_path, RATES, arms=4, more=more)
        running = [SearchArm(key=arm.key, values=arm.values) for arm in old]
        assert opened(tmp_path, changed, running).arms == tuple(running)
        assert opened(tmp_path, changed, old).arms == old


@pytest.mark.parametrize(("sampler", "arms"), [("tpe", 40), ("cmaes", 60), ("gp", 14)])
def test_a_search_learns(tmp_path: Path, sampler: str, arms: int) -> None:
    scores: dict[str, list[float]] = {}
    for one in (sampler, "random"):
        (tmp_path / one).mkdir()
        sweep = read(tmp_path / one, RATES, sampler=one, arms=arms)
        scores[one] = list(map(score, search(opened(tmp_path / one, sweep), together=2)))
    newest = scores[sampler][-arms // 4 :]
    assert fmean(newest) > -2  # random points have -5 on average, those in the middle -3
    assert fmean(sorted(scores[sampler])[-5:]) > fmean(sorted(scores["random"])[-5:])


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_both_directions_are_searched(tmp_path: Path, direction: str) -> None:
    sign = 1 if direction == "maximize" else -1
    more = f"objective: {{metric: eval/four_shot, direction: {direction}}}\n"
    sweep = read(tmp_path, RATES, sampler="tpe", arms=40, more=more)
    tried = search(opened(tmp_path, sweep), value=lambda arm: sign * score(arm))
    assert fmean(map(score, tried[20:])) > fmean(map(score, tried[:10]))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_what_diverges_is_avoided(tmp_path: Path, sampler: str) -> None:
    """High rates would score best, and diverge."""
    study = opened(tmp_path, read(tmp_path, RATES, sampler=sampler, arms=24 if sampler == "tpe" else 14))
    high = []
    while asked := study.ask(1, name):
        rate = asked[0].values["optimisation.learning_rate"]
        high.append(rate > 0.003)
        if rate > 0.003:
            study.tell(asked[0].key, None, "diverged")
        else:
            study.tell(asked[0].key, rate, "done")
    assert any(high)
    assert sum(high[len(high) // 2 :]) < len(high) / 4


def test_points_lie_on_the_axes(tmp_path: Path) -> None:
    axes = """
  optimisation.weight_decay: {low: 0.0, high: 0.25, step: 0.1}
  decoder.layers: {low: 1, high: 6, step: 2}
  optimisation.warmup_steps: {low: 10, high: 20}
  optimisation.learning_rate: {low: 0.001, high: 0.01, log: true}"""
    for sampler in ("random", "tpe", "cmaes"):
        folder = tmp_path / sampler
        folder.mkdir()
        sweep = read(folder, axes + SIZES, sampler=sampler, arms=30)
        study = opened(folder, sweep)
        tried = search(study, together=4, value=lambda arm: arm.values["optimisation.learning_rate"])
        seen = {axis.name: {arm.values[axis.name] for arm in tried} for axis in sweep.axes}
        assert seen["optimisation.weight_decay"] == {0.0, 0.1, 0.2}
        assert seen["decoder.layers"] == {1, 3, 5}
        assert seen["image.resolution, connector.num_tokens"] == {"small", "middle", "large"}
        assert seen["optimisation.warmup_steps"] <= set(range(10, 21))
        assert all(0.001 <= rate <= 0.01 and len(repr(rate)) < 12 for rate in seen["optimisation.learning_rate"])


def test_forbidden_and_equal_points_are_never_arms(tmp_path: Path) -> None:
    axes = KINDS + "\n  image.resolution: [16, 48]\n  connector.num_tokens: [1, 4, 9, 16, 36]"
    more = "constraints: [connector.num_tokens <= image.num_patches, connector.num_tokens > 1]\n"
    for sampler in ("random", "tpe"):
        folder = tmp_path / sampler
        folder.mkdir()
        sweep = read(folder, axes, sampler=sampler, arms=100, more=more)
        study = opened(folder, sweep)
        naming = arm_namer(sweep, Chains(), study.arms)
        asked = study.ask(7, naming)
        for arm in asked:
            study.tell(arm.key, 0.5, "done")
        while more_arms := study.ask(100, naming):
            asked += more_arms
        points = {(arm.values["image.resolution"], arm.values["connector.num_tokens"]) for arm in asked}
        assert points == {("16", "4"), ("48", "4"), ("48", "9"), ("48", "16"), ("48", "36")}
        assert len(asked) == len({arm.key for arm in asked}) == 15
        assert opened(folder, sweep).ask(1, lambda point: pytest.fail("it is known that none is left")) == []


def test_points_that_are_the_same_work_are_one_arm(tmp_path: Path) -> None:
    axes = "\n  encoder.objective: [none, clip]\n  encoder.training.steps: [100, 200]"
    sweep = read(tmp_path, axes, arms=10)
    study = opened(tmp_path, sweep)
    asked = study.ask(10, arm_namer(sweep, Chains(), []))
    assert sorted(arm.values["encoder.objective"] for arm in asked) == ["clip", "clip", "none"]
    naming = arm_namer(sweep, Chains(), study.arms)
    assert [naming(arm.values) for arm in asked] == [arm.key for arm in asked]


def test_cmaes_needs_numbers(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="two axes"):
        read(tmp_path, KINDS + "\n  optimisation.learning_rate: {low: 0.001, high: 0.01}", sampler="cmaes")


EVERY = "set: {evaluation.every: 50, training.steps: 300}\n"


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband"])
def test_hopeless_arms_are_stopped(tmp_path: Path, pruner: str) -> None:
    study = opened(tmp_path, read(tmp_path, RATES, pruner=pruner, arms=20, more=EVERY))
    stopped = []
    for number in range(20):
        (arm,) = study.ask(1, name)
        good = number % 4 == 0
        for step in range(50, 301, 50):
            value = (0.9 + number / 100 if good else 0.2 - number / 1000) * step / 300
            if study.report(arm.key, step, value):
                stopped.append(good)
                study.tell(arm.key, None, "pruned")
                break
        else:
            study.tell(arm.key, 0.9 if good else 0.2, "done")
    assert True not in stopped
    assert (len(stopped) == 0) == (pruner == "none")
    if pruner != "none":
        assert len(stopped) >= 5
    states = [arm.state for arm in study.arms]
    assert states.count("pruned") == len(stopped)
    assert all(arm.value is None for arm in study.arms if arm.state == "pruned")


def test_the_verdict_on_an_arm_outlives_the_process(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES, pruner="hyperband", arms=20, more=EVERY)
    study = opened(tmp_path, sweep)
    arms = [
        SearchArm(key=arm.key, values=arm.values, intermediate={50: 0.1 + 0.01 * (11 - number)})
        for number, arm in enumerate(study.ask(12, name))
    ]
    stopped = study.update(arms)
    assert 0 < len(stopped) < 12
    assert arms[0].key not in stopped
    assert opened(tmp_path, sweep, arms).update(arms) == stopped
    key = sorted(stopped)[0]
    assert opened(tmp_path, sweep).report(key, 50, 0.0) is True


def test_a_study_made_anew_prunes_like_the_one_that_was_lost(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES, pruner="hyperband", arms=40, more=EVERY)
    study = opened(tmp_path, sweep)
    earlier = [
        SearchArm(key=arm.key, values=arm.values, state="failed", intermediate={50: 0.5, 100: 0.5})
        for arm in study.ask(20, name)
    ]
    study.update(earlier)
    low = [SearchArm(key=arm.key, values=arm.values, intermediate={50: 0.1}) for arm in study.ask(10, name)]
    stopped = study.update(low)
    assert len(stopped) > 0
    (tmp_path / JOURNAL).unlink()
    again = opened(tmp_path, sweep, earlier)
    again.ask(10, name)
    assert again.update(low) == stopped


def test_update_gives_arms_with_their_scores_at_once(tmp_path: Path) -> None:
    """What happened while no dispatcher ran is all told by one update."""
    sweep = read(tmp_path, RATES, pruner="median", arms=20, more=EVERY)
    study = opened(tmp_path, sweep)
    asked = study.ask(7, name)
    done = [
        SearchArm(key=arm.key, values=arm.values, state="done", value=0.5, intermediate={50: 0.4, 100: 0.5})
        for arm in asked[:5]
    ]
    bad, good = (
        SearchArm(key=arm.key, values=arm.values, intermediate={50: value, 100: value})
        for arm, value in zip(asked[5:], (0.1, 0.6), strict=True)
    )
    assert study.update([bad, good, *done]) == {bad.key}
    assert study.arms == (*done, bad, good)


def test_an_arm_is_as_its_trials_are() -> None:
    done = {"state": "done", "objective": 0.5}
    assert outcome([], seeds=2) == ("running", None)
    assert outcome([done], seeds=2) == ("running", None)
    assert outcome([done, {"state": "done", "objective": 0.7}], seeds=2) == ("done", pytest.approx(0.6))
    assert outcome([done, {"state": "failed", "objective": None}], seeds=2) == ("done", 0.5)
    assert outcome([{"state": "failed", "objective": None}] * 2, seeds=2) == ("failed", None)
    assert outcome([done, {"state": "diverged", "objective": None}], seeds=2) == ("diverged", None)
    assert outcome([{"state": "pruned", "objective": None}, done], seeds=2) == ("pruned", None)


def test_scores_of_seeds_are_averaged_where_all_have_them() -> None:
    assert mean_by_step([{50: 0.2, 100: 0.4, 150: 0.5}, {50: 0.4, 100: 0.6}]) == pytest.approx({50: 0.3, 100: 0.5})
    assert mean_by_step([{50: 0.2}, {}]) == {}
    assert mean_by_step([]) == {}


def test_arms_are_read_from_plan_records_and_spools(tmp_path: Path) -> None:
    sweep = read(tmp_path, RATES + SIZES, arms=4, more="seeds: [0, 1]\n")
    study = opened(tmp_path, sweep)
    asked = study.ask(2, name)
    trials = [
        {"key": f"{number}{seed}", "arm": arm.key, "seed": seed,
         "stages": [{"kind": "pretrain", "key": f"p{number}{seed}", "inputs": {}}]}
        for seed in (0, 1) for number, arm in enumerate(asked)
    ]  # fmt: skip
    arms = [
        {
            "key": arm.key,
            "label": "",
            "values": {axis: str(value) for axis, value in arm.values.items()},
            "set": {axis: value for axis, value in arm.values.items() if not isinstance(value, str)},
        }
        for arm in asked
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"arms": arms, "trials": trials}))
    for seed, objective in ((0, 0.25), (1, 0.75)):
        record = tmp_path / "trials" / f"0{seed}" / "record.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps({"trial": f"0{seed}", "state": "done", "objective": objective, "metrics": {}}))
        spool = tmp_path / "store" / "pretrain" / f"p1{seed}" / "work" / "spool.jsonl"
        spool.parent.mkdir(parents=True)
        lines = [
            {"step": step, "time": 1.0, "metrics": {"eval/few_shot/mean": objective * step / 100, "train/loss": 1.0}}
            for step in ([50, 100] if seed else [50])
        ]
        spool.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read_back = search_arms(sweep, tmp_path, tmp_path / "store")
    assert read_back == (
        SearchArm(key=asked[0].key, values=asked[0].values, state="done", value=0.5),
        SearchArm(key=asked[1].key, values=asked[1].values, intermediate={50: 0.25}),
    )
    assert opened(tmp_path, sweep, read_back).arms == read_back
