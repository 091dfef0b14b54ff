"""Several sweeps in one report: nothing is mixed up, nothing is lost, and what is alike in two of them is compared."""

import json

import pytest
from report_records import ArmRecord, axis, write_sweep

from ablations.errors import OK, BadInput
from ablations.report import report
from reports.analysis import analyse
from reports.frame import Results
from reports.merge import merge
from reports.records import read_records

KINDS = ("pool", "abstractor")


def write(store, name, scores, *, base=None, **options):
    """A sweep over the kind of connector; ``scores`` by kind."""
    arms = [
        ArmRecord(label=kind, values={"kind": kind}, settings={"connector.kind": kind},
                  scores={"0": scores[kind], "text_core": 50.0}, baseline=kind == "abstractor")
        for kind in KINDS
    ]  # fmt: skip
    kinds = axis("kind", {kind: {"connector.kind": kind} for kind in KINDS})
    folder = write_sweep(store, name, arms, axes=[kinds], items=200, **options)
    plan = json.loads((folder / "plan.json").read_text())
    plan["base"] = base or {}
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


@pytest.fixture
def two(tmp_path):
    write(tmp_path, "short", {"pool": 30.0, "abstractor": 40.0}, base={"training": {"steps": 100, "rows": 4}})
    write(tmp_path, "long", {"pool": 50.0, "abstractor": 70.0}, base={"training": {"steps": 900, "rows": 4}})
    return merge([read_records(tmp_path / "sweeps" / name, store=tmp_path) for name in ("short", "long")])


def test_every_arm_keeps_its_numbers_under_its_sweeps_name(two):
    analysis = analyse(Results(two))
    measure = analysis.results.headline[0]
    means = {arm.label: round(100 * analysis.mean(arm, measure).mean) for arm in analysis.results.arms}
    assert means == {"short: pool": 30, "short: abstractor": 40, "long: pool": 50, "long: abstractor": 70}
    assert analysis.results.baseline.label == "short: abstractor"
    assert len(analysis.results.all_trials) == 12


def test_settings_are_what_differs_anywhere(two):
    settings = {arm["label"]: arm["set"] for arm in two.plan["arms"]}
    assert settings["long: pool"] == {"connector.kind": "pool", "training.steps": 900}
    assert settings["short: pool"] == {"connector.kind": "pool", "training.steps": 100}


def test_the_sweep_is_an_axis_and_the_others_keep_their_reference(two):
    effects = {(one.axis, one.value, one.reference): one for one in analyse(Results(two)).axis_effects}
    assert effects.keys() == {("sweep", "long", "short"), ("kind", "pool", "abstractor")}
    key = "eval/zero_shot"
    assert effects["sweep", "long", "short"].differences[key].estimate.mean == pytest.approx(0.25)  # of +20 and +30
    assert effects["kind", "pool", "abstractor"].differences[key].estimate.mean == pytest.approx(-0.15)


def test_two_sweeps_with_the_same_arms_do_not_become_one(tmp_path):
    """The same trials under two names, equal keys of arms and trials: they are shown twice and say nothing new."""
    for name in ("one", "two"):
        write(tmp_path, name, {"pool": 30.0, "abstractor": 40.0})
    plan = (tmp_path / "sweeps/one/plan.json").read_text().replace('"name": "one"', '"name": "two"')
    (tmp_path / "sweeps/two/plan.json").write_text(plan)
    for path in (tmp_path / "sweeps/one/trials").iterdir():
        target = tmp_path / "sweeps/two/trials" / path.name
        target.mkdir()
        (target / "record.json").write_bytes((path / "record.json").read_bytes())
    merged = merge([read_records(tmp_path / "sweeps" / name, store=tmp_path) for name in ("one", "two")])
    analysis = analyse(Results(merged))
    assert [arm.label for arm in analysis.results.arms] == [
        "one: pool",
        "one: abstractor",
        "two: pool",
        "two: abstractor",
    ]
    assert "sweep" not in {one.axis for one in analysis.axis_effects}
    key = "eval/zero_shot"
    alone = analyse(Results(read_records(tmp_path / "sweeps" / "one", store=tmp_path)))
    (own,) = (difference for (_, measure), difference in alone.differences.items() if measure == key)
    compared = {arm: difference for (arm, measure), difference in analysis.differences.items() if measure == key}
    assert [(found.estimate.mean, found.p_holm) for found in compared.values()] == [(own.estimate.mean, own.p_holm)] * 2
    assert len({arm.partition("/")[2] for arm in compared}) == 1, "the baseline is not compared with itself"


def test_an_arm_with_further_seeds_is_not_compared_with_the_trials_it_shares(tmp_path):
    write(tmp_path, "one", {"pool": 30.0, "abstractor": 40.0}, seeds=(0, 1))
    write(tmp_path, "two", {"pool": 30.0, "abstractor": 40.0}, seeds=(0, 1, 2))
    records = [read_records(tmp_path / "sweeps" / name, store=tmp_path) for name in ("one", "two")]
    keys = {(trial.arm, trial.seed): trial.key for trial in records[0].trials}
    known = {arm["label"]: arm["key"] for arm in records[0].plan["arms"]}
    plan = json.loads((tmp_path / "sweeps/two/plan.json").read_text())
    labels = {arm["key"]: arm["label"] for arm in plan["arms"]}
    for trial in plan["trials"]:
        shared = keys.get((known[labels[trial["arm"]]], trial["seed"]))
        if shared is not None:
            (tmp_path / "sweeps/two/trials" / trial["key"]).rename(tmp_path / "sweeps/two/trials" / shared)
            trial.update(json.loads(json.dumps(trial).replace(trial["key"], shared)))
    (tmp_path / "sweeps/two/plan.json").write_text(json.dumps(plan))
    records[1] = read_records(tmp_path / "sweeps/two", store=tmp_path)
    analysis = analyse(Results(merge(records)))
    compared = {arm.label for arm in analysis.results.arms if (arm.key, "eval/zero_shot") in analysis.differences}
    assert compared == {"one: pool", "two: pool"}
    assert "sweep" not in {one.axis for one in analysis.axis_effects}


def test_values_are_the_same_if_they_set_the_same_whatever_they_are_called(tmp_path):
    """As the repository's own mixes: 50/50 of one sweep is 100/0 of the other, and each has another 100/0."""
    mixes = {"mix": {"100/0": [1, 0], "50/50": [1, 1]}, "ratio": {"100/0": [1, 1], "66/33": [1, 2]}}
    for name, values in mixes.items():
        arms = [
            ArmRecord(label=label, values={"mix": label}, scores={"0": 10.0 * sum(setting)}, baseline=place == 0)
            for place, (label, setting) in enumerate(values.items())
        ]
        options = {label: {"data.mix": setting} for label, setting in values.items()}
        write_sweep(tmp_path, name, arms, axes=[axis("mix", options)], items=200)
    merged = merge([read_records(tmp_path / "sweeps" / name, store=tmp_path) for name in mixes])
    assert [arm["values"]["mix"] for arm in merged.plan["arms"]] == ["100/0", "50/50", "50/50", "66/33"]
    arms = [ArmRecord(label="100/0", values={"mix": "100/0"}, scores={"0": 50.0}, baseline=True)]
    write_sweep(tmp_path, "three", arms, axes=[axis("mix", {"100/0": {"data.mix": [9, 9]}})], items=200)
    merged = merge([read_records(tmp_path / "sweeps" / name, store=tmp_path) for name in (*mixes, "three")])
    assert merged.plan["arms"][-1]["values"]["mix"] == "100/0 (three)"
    assert [value["label"] for value in merged.plan["axes"][1]["values"]] == [
        "100/0",
        "50/50",
        "66/33",
        "100/0 (three)",
    ]
    pairs = {(one.axis, one.value): one.pairs for one in analyse(Results(merged)).axis_effects}
    assert pairs["sweep", "ratio"] == 1, "50/50 alone is in both"
    assert ("sweep", "three") not in pairs


def test_the_command_compares_and_finds_it_up_to_date(tmp_path, capsys):
    write(tmp_path, "short", {"pool": 30.0, "abstractor": 40.0})
    write(tmp_path, "long", {"pool": 50.0, "abstractor": 70.0}, title="The <long> one")
    options = {"store": tmp_path, "output": None, "images": False, "json_output": True}
    assert report(["short", "long"], **options) == OK
    first = json.loads(capsys.readouterr().out)
    page = tmp_path / "comparisons/short+long/index.html"
    assert "short; The &lt;long&gt; one" in page.read_text()
    kept = b"." * page.stat().st_size
    page.write_bytes(kept)
    assert report(["short", "long"], **options) == OK
    assert json.loads(capsys.readouterr().out) == first
    assert page.read_bytes() == kept
    for wrong in (["short", "short"], ["short", "nowhere"]):
        with pytest.raises(BadInput):
            report(wrong, **options)
    with pytest.raises(BadInput, match="one sweep"):
        report(["short", "long"], watch=True, **options)
