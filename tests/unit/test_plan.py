"""The plan: trials, shared stages, jobs, and what goes into plan.json."""

import json

import pytest
from sweep_files import planned, read

from ablations.design import suggested_arm
from ablations.plan import jobs, make_plan, plan_document
from ablations.stages import Chains

CONNECTORS = """
name: connector
title: Connectors
axes:
  connector.kind: [average_pool, c_abstractor]
  image.resolution: [24, 48]
design: grid
seeds: [0, 1]
figures: [connector]
"""


def test_a_trial_is_an_arm_at_a_seed_and_seeds_go_one_after_the_other(tmp_path):
    plan = planned(tmp_path, CONNECTORS)
    assert len(plan.arms) == 4
    assert [(trial.seed, trial.arm.key) for trial in plan.trials] == [
        (seed, arm.key) for seed in (0, 1) for arm in plan.arms
    ]
    assert all(trial.key == trial.stages[-1].key for trial in plan.trials)
    assert plan.baseline is plan.arms[1]


def test_arms_share_the_stages_that_do_not_differ(tmp_path):
    plan = planned(tmp_path, CONNECTORS)
    kinds = [stage.kind for stage in plan.stages().values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"world": 1, "encoder": 4, "pretrain": 8, "evaluate": 8}
    uses = plan.uses()
    assert sorted(uses[key] for key, stage in plan.stages().items() if stage.kind == "encoder") == [2, 2, 2, 2]


def test_planning_is_a_pure_function_of_the_file(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert plan_document(planned(tmp_path / "one", CONNECTORS)) == plan_document(planned(tmp_path / "two", CONNECTORS))


def test_the_document_is_json_and_holds_what_reports_need(tmp_path):
    plan = planned(tmp_path, CONNECTORS)
    document = plan_document(plan)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["name"] == "connector"
    assert document["design"] == "grid"
    assert document["objective"] == {"metric": "eval/few_shot/mean", "direction": "maximize"}
    assert document["figures"] == ["connector"]
    assert document["margin"] == 1.0
    assert document["axes"][1] == {
        "name": "image.resolution",
        "keys": ["image.resolution"],
        "values": [
            {"label": "24", "set": {"image.resolution": 24}},
            {"label": "48", "set": {"image.resolution": 48}},
        ],
    }
    arm = document["arms"][0]
    assert arm == {
        "key": plan.arms[0].key,
        "label": "kind=average_pool, resolution=24",
        "values": {"connector.kind": "average_pool", "image.resolution": "24"},
        "set": {"connector.kind": "average_pool", "image.resolution": 24},
        "varied": ["image.resolution"],
        "baseline": False,
        "parameters": arm["parameters"],
        "operations": arm["operations"],
        "decoder_parameters": arm["decoder_parameters"],
    }
    assert document["baseline"] == plan.arms[1].key
    trial = document["trials"][0]
    assert (trial["arm"], trial["seed"], trial["key"]) == (arm["key"], 0, trial["stages"][-1]["key"])
    assert [stage["kind"] for stage in trial["stages"]] == ["world", "encoder", "pretrain", "evaluate"]
    assert trial["stages"][-1]["inputs"] == {"world": trial["stages"][0]["key"], "pretrain": trial["stages"][2]["key"]}


def test_the_document_says_what_each_arm_takes_to_train(tmp_path):
    arms = plan_document(planned(tmp_path, CONNECTORS))["arms"]
    by_resolution = {arm["set"]["image.resolution"]: arm for arm in arms if "average" in arm["label"]}
    assert 1e10 < by_resolution[24]["operations"] < by_resolution[48]["operations"]
    assert by_resolution[24]["parameters"] > 1e5
    assert 1e5 < by_resolution[24]["decoder_parameters"] < by_resolution[24]["parameters"]


def test_every_label_of_an_arm_is_a_value_of_its_axis(tmp_path):
    document = plan_document(
        planned(tmp_path, "name: a\naxes: {connector.num_tokens: [4, 1], data.mix: {text: {text: 1}}}\n")
    )
    for axis in document["axes"]:
        listed = [value["label"] for value in axis["values"]]
        assert {arm["values"][axis["name"]] for arm in document["arms"]} == set(listed)
    assert [value["label"] for value in document["axes"][0]["values"]] == ["9", "4", "1"]


def test_a_search_plans_the_arms_known_so_far(tmp_path):
    sweep = read(
        tmp_path,
        "name: a\naxes: {decoder.layers: {low: 1, high: 4}}\ndesign: {kind: search, arms: 9}\nseeds: [0, 1]\n",
    )
    assert make_plan(sweep).trials == ()
    chains = Chains()
    suggested = [suggested_arm(sweep, {"decoder.layers": layers}, chains) for layers in (3, 1, 3)]
    plan = make_plan(sweep, suggested=suggested)
    assert [arm.set["decoder.layers"] for arm in plan.arms] == [3, 1]
    assert len(plan.trials) == 4
    document = plan_document(plan)
    assert [value["label"] for value in document["axes"][0]["values"]] == ["1", "3"]


@pytest.mark.parametrize(
    ("metric", "settings"),
    [
        ("eval/few_shot/mean", "evaluation.shots: [0]"),
        ("eval/text_core", "evaluation.tasks: [colour]"),
        ("eval/four_shot", "evaluation.shots: [0, 8]"),
        ("eval/colour/value/2", "evaluation.shots: [0, 4]"),
        ("eval/colour/cider_d/0", "evaluation.shots: [0, 4]"),
        ("eval/text_core/exact/4", "evaluation.shots: [0, 4]"),
    ],
)
def test_an_objective_that_the_evaluation_does_not_give(tmp_path, metric, settings):
    text = f"name: a\nset: {{{settings}}}\naxes: {{decoder.layers: [1]}}\nobjective: {{metric: {metric}}}\n"
    with pytest.raises(Exception, match="metric"):
        planned(tmp_path, text)


@pytest.mark.parametrize(
    "metric",
    [
        "eval/zero_shot",
        "eval/2_shot",
        "eval/few_shot/mean",
        "eval/text_core",
        "eval/colour/value/2",
        "eval/text_core/exact/0",
    ],
)
def test_an_objective_that_it_gives(tmp_path, metric):
    text = (
        f"name: a\nset: {{evaluation.shots: [0, 2]}}\naxes: {{decoder.layers: [1]}}\nobjective: {{metric: {metric}}}\n"
    )
    assert planned(tmp_path, text).trials


def key_of(plan, kind, trial=0):
    return next(stage.key for stage in plan.trials[trial].stages if stage.kind == kind)


def test_a_stage_that_several_trials_need_is_a_job_of_its_own(tmp_path):
    plan = planned(tmp_path, CONNECTORS)
    found = jobs(plan.trials, lambda stage: False)
    shared = [job for job in found if job.trial is None]
    assert [[stage.kind for stage in job.stages] for job in shared] == [["world"]] + [["encoder"]] * 4
    assert shared[0].after == ()
    assert all(job.after == (shared[0].key,) for job in shared[1:])
    own = [job for job in found if job.trial is not None]
    assert [job.trial for job in own] == list(plan.trials)
    for job in own:
        assert [stage.kind for stage in job.stages] == ["pretrain", "evaluate"]
        assert set(job.after) == {job.trial.stages[0].key, job.trial.stages[1].key}


def test_a_stage_that_one_trial_needs_is_part_of_its_job(tmp_path):
    plan = planned(tmp_path, "name: a\naxes: {decoder.layers: [2]}\ndesign: grid\n")
    (job,) = jobs(plan.trials, lambda stage: False)
    assert [stage.kind for stage in job.stages] == ["world", "encoder", "pretrain", "evaluate"]
    assert job.after == ()


def test_finished_stages_are_neither_run_nor_waited_for(tmp_path):
    plan = planned(tmp_path, CONNECTORS)
    done = {key_of(plan, "world"), key_of(plan, "encoder"), key_of(plan, "pretrain")}
    found = {job.key: job for job in jobs(plan.trials, lambda stage: stage.key in done)}
    first = found[plan.trials[0].key]
    assert [stage.kind for stage in first.stages] == ["evaluate"]
    assert first.after == ()
    assert done.isdisjoint(stage.key for job in found.values() for stage in job.stages)


def test_what_only_finished_stages_need_is_not_run(tmp_path):
    plan = planned(tmp_path, "name: a\naxes: {decoder.layers: [2]}\ndesign: grid\n")
    done = {key_of(plan, "pretrain")}
    (job,) = jobs(plan.trials, lambda stage: stage.key in done)
    assert [stage.kind for stage in job.stages] == ["world", "evaluate"]
    assert jobs(plan.trials, lambda stage: stage.kind == "evaluate") == ()
