"""Records to frame, measures, means, paired differences and axis effects."""

import json

import numpy as np
import pytest
from report_records import ArmRecord, axis, key, write_paper_connector, write_sweep, written_items

from reports.analysis import analyse
from reports.frame import Results
from reports.records import ReportError, read_records

MIXES = {"captions": {"data.mix": "captions"}, "mixed": {"data.mix": "mixed"}}
SCORES = {
    "captions": {"0": 40.0, "4": 42.0, "8": 44.0, "text_core": 10.0},
    "mixed": {"0": 35.0, "4": 90.0, "8": 92.0, "text_core": 80.0},
}


def two_arms(**captions_states):
    states = {int(seed.removeprefix("seed")): state for seed, state in captions_states.items()}
    return [
        ArmRecord(label="captions", values={"data.mix": "captions"}, scores=SCORES["captions"], states=states),
        ArmRecord(label="mixed", values={"data.mix": "mixed"}, scores=SCORES["mixed"], baseline=True),
    ]


def load(folder):
    return Results(read_records(folder, store=folder.parent.parent))


def arm_of(results, label):
    return next(arm for arm in results.arms if arm.label == label)


def measure_of(results, name):
    return next(measure for measure in (*results.headline, *results.details) if name in (measure.key, measure.label))


def edit_arrays(folder, arm, seed, change):
    path = folder.parent.parent / "evaluate" / key("evaluate", key(folder.name, arm), seed) / "work/item_scores.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    change(arrays)
    np.savez(path, **arrays)


def test_the_frame_has_a_row_per_trial_task_metric_and_shots(tmp_path):
    results = load(write_sweep(tmp_path, "mix", two_arms(), axes=[axis("data.mix", MIXES)]))
    frame = results.frame
    assert len(frame) == 2 * 3 * (2 * 2 * 3 + 1)
    cell = frame.query("label == 'mixed' and seed == 1 and task == 'colour' and metric == 'value' and shots == 4")
    assert cell["mean"].item() == pytest.approx(0.90)
    assert cell["n"].item() == 200
    assert cell["axis data.mix"].item() == "mixed"
    assert bool(cell["baseline"].item())


@pytest.mark.parametrize("state", ["failed", "diverged", "pruned", "missing", "unreadable"])
def test_a_trial_without_scores_stays_visible(tmp_path, state):
    results = load(write_sweep(tmp_path, "mix", two_arms(seed1=state), axes=[axis("data.mix", MIXES)]))
    rows = results.frame.query("label == 'captions' and seed == 1")
    assert rows["state"].tolist() == [state]
    assert rows["mean"].isna().all()
    assert set(results.done(arm_of(results, "captions").key)) == {0, 2}


def test_headline_measures_are_means_over_the_tasks_leading_metrics(tmp_path):
    results = load(write_sweep(tmp_path, "mix", two_arms(), seed_spread=3.0))
    assert [measure.label for measure in results.headline] == ["0-shot", "4-shot", "8-shot", "TextCore"]
    analysis = analyse(results)
    wanted = results.frame.query("label == 'captions' and metric == 'value' and shots == 8")["mean"].mean()
    found = analysis.mean(arm_of(results, "captions"), measure_of(results, "8-shot"))
    assert found.mean == pytest.approx(wanted, abs=1e-6)
    assert (found.seeds, found.items) == (3, 400)
    text = analysis.mean(arm_of(results, "mixed"), measure_of(results, "TextCore"))
    assert text.items == 200


def test_a_difference_is_paired_by_the_seeds_and_items_both_arms_have(tmp_path):
    folder = write_sweep(tmp_path, "mix", two_arms(seed2="failed"), seed_spread=5.0)

    def drop_and_turn(arrays):  # this trial answered fewer items, in another order
        for name, array in arrays.items():
            if name.startswith("colour/"):
                arrays[name] = array[10:][::-1]

    edit_arrays(folder, "mixed", 1, drop_and_turn)
    results = load(folder)
    measure = measure_of(results, "eval/colour/value/4")
    part = measure.parts[0]
    left, right = (results.done(arm_of(results, label).key) for label in ("captions", "mixed"))
    by_item = []
    for seed in (0, 1):
        first = dict(zip(*written_items(results.records.store, left[seed].evaluation, part), strict=True))
        second = dict(zip(*written_items(results.records.store, right[seed].evaluation, part), strict=True))
        by_item.append({name: first[name] - second[name] for name in second})
    shared = [f"test/colour/{index}" for index in range(10, 200)]
    wanted = np.mean([[row[name] for name in shared] for row in by_item])

    difference = analyse(results).difference(arm_of(results, "captions"), measure)

    assert difference.estimate.mean == pytest.approx(wanted)
    assert (difference.estimate.seeds, difference.estimate.items) == (2, 190)


def test_arms_without_a_common_item_or_seed_are_not_compared(tmp_path):
    folder = write_sweep(tmp_path, "mix", two_arms(), seeds=(0,), tasks=("colour",))

    def rename(arrays):
        arrays["colour/ids"] = np.array([f"other/{index}" for index in range(len(arrays["colour/ids"]))])

    edit_arrays(folder, "mixed", 0, rename)
    analysis = analyse(load(folder))
    assert analysis.differences == {}
    assert len(analysis.means) == 2 * (3 + 6)


def test_verdicts_follow_the_data(tmp_path):
    arms = [
        *two_arms(),
        ArmRecord(label="twin", scores={**SCORES["mixed"], "0": 35.5}),
        ArmRecord(label="near", scores={**SCORES["mixed"], "0": 32.0}),
    ]
    analysis = analyse(load(write_sweep(tmp_path, "mix", arms, seeds=range(5), items=3000)))
    results = analysis.results

    def verdict(arm, measure):
        return analysis.difference(arm_of(results, arm), measure_of(results, measure)).verdict

    assert verdict("captions", "4-shot") == "lower"
    assert verdict("captions", "0-shot") == "higher"
    assert verdict("near", "0-shot") == "lower"
    assert verdict("twin", "8-shot") == "equivalent"
    p = [difference.p for (_, name), difference in analysis.differences.items() if name == "eval/zero_shot"]
    adjusted = [difference.p_holm for (_, name), difference in analysis.differences.items() if name == "eval/zero_shot"]
    assert len(p) == 3
    assert all(high >= low for low, high in zip(p, adjusted, strict=True))


def test_a_wider_margin_of_the_sweep_makes_more_arms_alike(tmp_path):
    arms = [*two_arms(), ArmRecord(label="near", scores={**SCORES["mixed"], "0": 33.0})]
    folder = write_sweep(tmp_path, "mix", arms, seeds=range(5), items=3000)

    def near(margin):
        plan = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps({**plan, "margin": margin}))
        analysis = analyse(load(folder))
        return analysis.difference(arm_of(analysis.results, "near"), measure_of(analysis.results, "0-shot"))

    narrow, wide = near(1.0), near(5.0)
    assert (narrow.verdict, narrow.within) == ("lower", False)
    assert (wide.verdict, wide.within) == ("lower", True)  # told apart from zero, and small all the same
    assert wide.margin == pytest.approx(0.05)


def test_an_axis_effect_averages_every_pair_that_differs_in_that_axis_alone(tmp_path):
    results = load(write_paper_connector(tmp_path))
    effect = next(effect for effect in analyse(results).axis_effects if effect.value == "attention_pool")
    assert (effect.reference, effect.pairs) == ("c_abstractor", 3)
    wanted = np.mean([52.8 - 55.0, 56.0 - 58.7, 58.2 - 57.4]) / 100
    assert effect.differences["eval/four_shot"].estimate.mean == pytest.approx(wanted, abs=1e-4)


def test_an_axis_effect_is_over_the_seeds_that_every_pair_has(tmp_path):
    kinds = {"a": {"connector.kind": "a"}, "b": {"connector.kind": "b"}}
    sizes = {"s": {"image.resolution": 16}, "l": {"image.resolution": 48}}
    arms = [
        ArmRecord(
            label=kind + size,
            values={"kind": kind, "size": size},
            baseline=kind + size == "as",
            states={1: "failed"} if kind + size == "bl" else {},
        )
        for kind in kinds
        for size in sizes
    ]
    sweep = write_sweep(tmp_path, "grid", arms, axes=[axis("kind", kinds), axis("size", sizes)], seed_spread=5.0)
    effect = next(effect for effect in analyse(load(sweep)).axis_effects if effect.value == "b")
    assert effect.pairs == 2
    assert effect.differences["eval/zero_shot"].estimate.seeds == 2


def test_failures_at_different_seeds_do_not_take_an_effect_from_all_pairs(tmp_path):
    kinds = {"a": {"connector.kind": "a"}, "b": {"connector.kind": "b"}}
    sizes = {name: {"image.resolution": size} for name, size in {"s": 16, "m": 32, "l": 48}.items()}
    failed = {"bs": 0, "bm": 1, "bl": 2}
    arms = [
        ArmRecord(
            label=kind + size,
            values={"kind": kind, "size": size},
            baseline=kind + size == "as",
            states={failed[kind + size]: "failed"} if kind + size in failed else {},
        )
        for kind in kinds
        for size in sizes
    ]
    sweep = write_sweep(tmp_path, "grid", arms, axes=[axis("kind", kinds), axis("size", sizes)], seed_spread=5.0)
    effects = analyse(load(sweep)).axis_effects
    seeds = {effect.value: effect.differences["eval/zero_shot"].estimate.seeds for effect in effects}
    pairs = {effect.value: effect.pairs for effect in effects}
    assert (seeds["b"], pairs["b"]) == (2, 1)  # a second pair would leave them one seed
    assert min(seeds.values()) == 2


def test_where_one_seed_is_left_of_several_nothing_is_claimed(tmp_path):
    states = {1: "failed", 2: "diverged"}
    arms = [*two_arms(), ArmRecord(label="lonely", scores=SCORES["captions"], states=states)]
    analysis = analyse(load(write_sweep(tmp_path, "mix", arms, items=3000)))
    lonely = analysis.difference(arm_of(analysis.results, "lonely"), measure_of(analysis.results, "4-shot"))
    assert (lonely.verdict, lonely.estimate.seeds) == ("unclear", 1)
    other = analysis.difference(arm_of(analysis.results, "captions"), measure_of(analysis.results, "4-shot"))
    assert other.verdict == "lower"


def test_one_seed_alone_is_never_alike(tmp_path):
    arms = [*two_arms(), ArmRecord(label="twin", scores=SCORES["mixed"])]
    analysis = analyse(load(write_sweep(tmp_path, "mix", arms, seeds=(0,), items=3000)))
    assert {one.verdict for one in analysis.differences.values()} <= {"higher", "lower", "unclear"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_make_a_trial_unreadable(tmp_path, bad):
    folder = write_sweep(tmp_path, "mix", two_arms())

    def spoil(arrays):
        arrays["colour/value/4"][:5] = bad

    edit_arrays(folder, "captions", 0, spoil)
    results = load(folder)
    (trial,) = (trial for trial in results.all_trials if trial.state == "unreadable")
    assert "5 of 200 scores" in trial.problem
    assert all(np.isfinite(mean.mean) for mean in analyse(results).means.values())


def test_without_a_baseline_axes_are_compared_with_their_first_value(tmp_path):
    arms = [ArmRecord(label=label, values={"data.mix": label}, scores=SCORES[label]) for label in ("captions", "mixed")]
    analysis = analyse(load(write_sweep(tmp_path, "mix", arms, axes=[axis("data.mix", MIXES)])))
    assert analysis.differences == {}
    assert [(effect.value, effect.reference) for effect in analysis.axis_effects] == [("mixed", "captions")]


def test_one_arm_alone_has_means_and_no_comparison(tmp_path):
    analysis = analyse(load(write_sweep(tmp_path, "one", [ArmRecord(label="only", baseline=True)])))
    assert analysis.differences == {}
    assert analysis.axis_effects == ()
    assert len(analysis.means) == 4 + 13


def test_cider_is_shown_as_it_is_and_fractions_in_percent(tmp_path):
    folder = write_sweep(tmp_path, "mix", two_arms())
    for path in (tmp_path / "evaluate").glob("*/record.json"):
        record = json.loads(path.read_text())
        record["result"]["scores"].append(
            {"task": "colour", "metric": "cider_d", "shots": 0, "mean": 1.5, "standard_error": 0.1, "n": 200}
        )
        path.write_text(json.dumps(record))
        with np.load(path.parent / "work/item_scores.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        arrays["colour/cider_d/0"] = np.full(200, 1.5, dtype=np.float32)
        np.savez(path.parent / "work/item_scores.npz", **arrays)
    results = load(folder)
    cider, value = measure_of(results, "eval/colour/cider_d/0"), measure_of(results, "eval/colour/value/0")
    assert (cider.scale, cider.unit, cider.bounds) == (1.0, "CIDEr-D", None)
    assert (value.scale, value.unit, value.bounds) == (100.0, "%", (0.0, 1.0))
    assert analyse(results).mean(results.arms[0], cider).mean == 1.5


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", None])
def test_damaged_scores_make_a_trial_unreadable_and_say_where(tmp_path, damage):
    folder = write_sweep(tmp_path, "mix", two_arms())
    path = next((tmp_path / "evaluate").glob("*/work/item_scores.npz"))
    path.unlink() if damage is None else path.write_bytes(damage)
    broken = [trial for trial in load(folder).all_trials if trial.state == "unreadable"]
    assert len(broken) == 1
    assert "item_scores.npz" in broken[0].problem


def test_a_done_trial_whose_evaluation_lost_its_record_is_unreadable(tmp_path):
    folder = write_sweep(tmp_path, "mix", two_arms())
    next((tmp_path / "evaluate").glob("*/record.json")).unlink()
    assert sum(trial.state == "unreadable" for trial in load(folder).all_trials) == 1


def test_without_a_plan_there_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(ReportError, match="ablate run"):
        read_records(tmp_path / "sweeps" / "none", store=tmp_path)


def test_the_digest_changes_with_every_record_that_counts(tmp_path):
    folder = write_sweep(tmp_path, "mix", two_arms(), seeds=(0,))
    before = read_records(folder, store=tmp_path).digest
    assert read_records(folder, store=tmp_path).digest == before
    paths = [folder / "plan.json", *folder.glob("trials/*/record.json"), *tmp_path.glob("*/*/record.json")]
    assert len(paths) == 1 + 2 + (1 + 1 + 2 + 2)
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert read_records(folder, store=tmp_path).digest != before, path
        path.write_bytes(content)
    assert read_records(folder, store=tmp_path).digest == before
