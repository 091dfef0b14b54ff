"""What is tracked of a sweep follows from its folder alone."""

import csv
import io
import json
from collections import Counter

import pytest
from ruamel.yaml import YAML
from tracked_folder import START, TrackedFolder

from ablations.tracked_runs import TrackedSweep, TrackedTrial


@pytest.fixture
def made(tmp_path) -> TrackedFolder:
    return TrackedFolder(tmp_path / "store")


def tracked(made: TrackedFolder) -> TrackedSweep:
    return TrackedSweep.read(made.folder, made.store)


def only(made: TrackedFolder) -> TrackedTrial:
    (trial,) = tracked(made).trials()
    return trial


def test_a_trial_is_shown_once_it_trains(made):
    assert list(tracked(made).trials()) == []
    made.train(made.trials[0], steps=50, kind="encoder")  # shared: many trials wait for it
    assert list(tracked(made).trials()) == []
    made.train(made.trials[0], steps=20)
    assert only(made).key == made.trials[0].key


def test_a_trial_says_who_and_where_it_is(made):
    made.run(made.trials[0])
    content = only(made).content()
    assert content.name == "average_pool, 48px/9 · seed 0"
    tags = content.tags
    assert tags["ablations.seed"] == "0"
    assert tags["ablations.state"] == "done"
    assert tags["axis.connector.kind"] == "average_pool"
    assert tags["axis.image.resolution/connector.num_tokens"] == "48px/9"
    assert tags["ablations.host"] == "node-7"
    assert tags["mlflow.source.git.commit"].startswith("01234567")
    assert tags["ablations.stage.pretrain"] == made.trials[0].stages[-2].key


def test_parameters_are_the_resolved_configuration(made):
    trial = next(one for one in made.trials if one.arm.values["connector.kind"] == "c_abstractor")
    made.train(trial, steps=10)
    content = only(made).content()
    assert content.parameters["connector.kind"] == "c_abstractor"
    assert content.parameters["connector.num_tokens"] == "9"
    assert content.parameters["optimisation.betas"] == "[0.9, 0.98]"
    assert content.parameters["data.mix.captions"] == "0.45"
    assert content.parameters["image.acuity"] == "null"
    assert content.parameters["evaluation.every"] == "50"
    assert content.parameters["seed"] == "0"
    config = YAML(typ="safe").load(content.texts["config.yaml"])
    assert config["connector"]["kind"] == "c_abstractor"
    assert config["training"]["steps"] == 300
    assert config["seed"] == 0


def test_points_are_those_of_the_spools_and_the_scores(made):
    made.run(made.trials[0])
    content = only(made).content()
    assert {(one.metric, one.step, one.value) for one in content.points} == made.expected(made.trials[0])
    assert max(Counter((one.metric, one.step) for one in content.points).values()) == 1
    assert ("validation/four_shot", 50) in {(one.metric, one.step) for one in content.points}
    assert [one.step for one in content.points if one.metric == "eval/four_shot"] == [100]
    assert content.started == round((START + 10) * 1000)
    assert content.ended == round((START + 400) * 1000)


def test_a_step_that_is_twice_in_a_spool_is_one_point(made):
    made.train(made.trials[0], steps=30)
    spool = made.spool(made.trials[0], "pretrain")
    spool.write_text(spool.read_text() + spool.read_text() + '{"step": 40, "metr')
    content = only(made).content()
    names = ("train/loss", "train/learning_rate", "train/gradient_norm", "system/train_memory_gib")
    assert {(one.metric, one.step) for one in content.points} == {
        (name, step) for name in names for step in (10, 20, 30)
    }


@pytest.mark.parametrize("state", ["failed", "diverged", "pruned"])
def test_how_a_trial_ended_is_shown(made, state):
    made.train(made.trials[0], steps=30)
    assert only(made).content().state == "stopped"
    made.finish(made.trials[0], state)
    content = only(made).content()
    assert content.state == state
    assert ("failure.txt" in content.texts) == (state != "pruned")
    assert ("ablations.failure" in content.tags) == (state != "pruned")
    assert not any(one.metric.startswith("eval/") for one in content.points)


def test_a_sample_of_the_predictions_is_a_table(made):
    made.run(made.trials[0])
    rows = list(csv.DictReader(io.StringIO(only(made).content().texts["predictions.csv"])))
    assert Counter((row["task"], row["shots"]) for row in rows) == {
        (task, shots): 4 for task in ("colour", "digit") for shots in ("0", "4")
    }
    assert rows[0]["prediction"] == 'red, "very"'
    assert rows[0]["references"] == "red | crimson"
    assert rows[0]["scores"] == "value=1 exact=0.5"


def test_what_is_seen_changes_with_the_content(made):
    trial = made.trials[0]
    seen = []
    made.train(trial, steps=10)
    seen.append(only(made).seen())
    made.train(trial, steps=20)
    seen.append(only(made).seen())
    made.train(trial, steps=20, kind="encoder")
    seen.append(only(made).seen())
    made.finish(trial)
    seen.append(only(made).seen())
    assert only(made).seen() == seen[-1]
    assert len({json.dumps(one) for one in seen}) == len(seen)


def test_a_stage_that_is_done_again_is_seen_though_the_trial_stays_as_it_was(made):
    """Its record was damaged, for one: the archive that was made of it has to be sent again."""
    trial = made.trials[0]
    made.run(trial)
    before = only(made).seen()
    work = made.store / "evaluate" / trial.key / "work"
    for path in [
        *(made.store / stage.kind / stage.key / "record.json" for stage in trial.stages),
        work / "item_scores.npz",
        work / "questions.jsonl",
        work / "predictions.jsonl",
    ]:
        whole = path.read_bytes() if path.exists() else b""
        path.write_bytes(whole + b" ")
        damaged = only(made).seen()
        assert damaged != before, path
        path.write_bytes(whole)
        assert only(made).seen() != damaged, path
        before = only(made).seen()


def test_the_sweep_counts_its_trials_and_ends_with_the_last(made):
    for number, trial in enumerate(made.trials):
        assert tracked(made).content().state == "stopped"
        before = tracked(made).seen()
        made.train(trial, steps=10)
        made.finish(trial, "failed" if number == 0 else "done")
        assert tracked(made).seen() != before
    content = tracked(made).content()
    assert content.state == "done"
    assert content.tags["ablations.trials.done"] == "7"
    assert content.tags["ablations.trials.failed"] == "1"
    assert content.tags["mlflow.note.content"] == "Vision-language connectors"
    made.write_report()
    assert sorted(tracked(made).content().files) == [
        "plan.json", "report/figures/effects.svg", "report/index.html", "sweep.yaml",
    ]  # fmt: skip
