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
    """The same trials under two names: equal keys of arms and trials."""
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
    (effect,) = (one for one in analysis.axis_effects if one.axis == "sweep")
    assert effect.pairs == 2
    assert effect.differences["eval/zero_shot"].estimate.mean == 0.0


def test_the_command_compares_and_finds_it_up_to_date(tmp_path, capsys):
    write(tmp_path, "short", {"pool": 30.0, "abstractor": 40.0})
    write(tmp_path, "long", {"pool": 50.0, "abstractor": 70.0}, title="The <long> one")
    options = {"store": tmp_path, "output": None, "images": False, "json_output": True}
    assert report(["short", "long"], **options) == OK
    first = json.loads(capsys.readouterr().out)
    page = tmp_path / "comparisons/short+long/index.html"
    assert "short; The &lt;long&gt; one" in page.read_text()
    page.write_text("kept")
    assert report(["short", "long"], **options) == OK
    assert json.loads(capsys.readouterr().out) == first
    assert page.read_text() == "kept"
    for wrong in (["short", "short"], ["short", "nowhere"]):
        with pytest.raises(BadInput):
            report(wrong, **options)
    with pytest.raises(BadInput, match="one sweep"):
        report(["short", "long"], watch=True, **options)
