"""The loop: resuming is exact, stops and failures are clean, and nothing of how it is executed changes the result."""

import json
import os
import random
import signal
import threading
from pathlib import Path

import pytest
import tiny_training as tiny
import torch

from mm1core import checkpoints, spool
from mm1core.config import OptimisationConfig
from mm1core.errors import ConfigError, Diverged, Interrupted, StorageError
from mm1core.fit import fit

STEPS = 6


class Crash(Exception):
    pass


def train(work: Path, *, stop=lambda: None, intermediate=None, seed: int = 0, optimisation=None, **training):
    learner = tiny.learner(tiny.model(seed), steps=STEPS, **training)
    progress = fit(
        learner,
        steps=STEPS,
        optimisation=optimisation or OptimisationConfig(warmup_steps=2),
        training=tiny.pretrain_stage(steps=STEPS, **training).training,
        work=work,
        stop=stop,
        intermediate=intermediate,
    )
    return learner.module, progress


def after_calls(count: int, action):
    """A stop request that does something at its ``count``-th call."""
    calls = iter(range(1, 10_000))
    return lambda: action() if next(calls) == count else None


def crash():
    raise Crash


def metrics(work: Path) -> list:
    """The spool without what depends on the clock."""
    clock = ("_per_second", "step_seconds", "_cpu_percent", "_memory_gib")
    return [
        (line["step"], {name: value for name, value in line["metrics"].items() if not name.endswith(clock)})
        for line in spool.read(work / "spool.jsonl")
    ]


def assert_same(first, second) -> None:
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    work = tmp_path_factory.mktemp("undisturbed")
    model, progress = train(work)
    return model, progress, metrics(work)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_stopped_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, undisturbed, step):
    with pytest.raises(Interrupted) as interrupted:
        train(tmp_path, stop=after_calls(step, lambda: "preempted"))
    assert interrupted.value.reason == "preempted"
    assert checkpoints.load_newest(tmp_path / "checkpoints")["step"] == step
    torch.manual_seed(99)  # whatever the new process has done before
    model, progress = train(tmp_path)
    assert_same(model, undisturbed[0])
    assert progress == undisturbed[1]
    assert metrics(tmp_path) == undisturbed[2]


@pytest.mark.parametrize("crashes_after", [2, 3, 5])
def test_crashed_and_resumed_equals_undisturbed_bit_for_bit(tmp_path, undisturbed, crashes_after):
    with pytest.raises(Crash):
        train(tmp_path, checkpoint_every=2, stop=after_calls(crashes_after, crash))
    model, progress = train(tmp_path, checkpoint_every=2)
    assert_same(model, undisturbed[0])
    assert progress == undisturbed[1]
    assert metrics(tmp_path) == undisturbed[2]


def test_stopped_at_every_step_equals_undisturbed(tmp_path, undisturbed):
    for _ in range(STEPS - 1):
        with pytest.raises(Interrupted):
            train(tmp_path, stop=lambda: "preempted")
    model, _ = train(
        tmp_path, stop=lambda: "preempted"
    )  # the last step is not interrupted: there is nothing left to do
    assert_same(model, undisturbed[0])
    assert metrics(tmp_path) == undisturbed[2]


def test_whatever_the_damage_a_checkpoint_is_set_aside(tmp_path):
    """Some flipped bits torch.load would take for weights, and of some it would raise what nobody expects."""
    with pytest.raises(Interrupted):
        train(tmp_path, stop=after_calls(2, lambda: "preempted"))
    newest = tmp_path / "checkpoints" / "step-00000002.ckpt"
    whole = newest.read_bytes()
    dice = random.Random(0)
    for damage in range(1000):
        content = bytearray(whole)
        if damage % 10 == 0:
            del content[dice.randrange(len(content)) :]
        else:  # every second one at the end, where the members are listed
            content[dice.randrange(len(content) - 20_000 if damage % 2 else 0, len(content))] ^= 1 << dice.randrange(8)
        newest.write_bytes(content)
        assert checkpoints.load_newest(newest.parent) is None
        assert newest.with_name("step-00000002.ckpt.corrupt").read_bytes() == content


def test_a_corrupt_checkpoint_costs_work_but_not_the_result(tmp_path, undisturbed):
    with pytest.raises(Interrupted):
        train(tmp_path, checkpoint_every=2, stop=after_calls(5, lambda: "preempted"))
    newest = tmp_path / "checkpoints" / "step-00000005.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    model, _ = train(tmp_path, checkpoint_every=2)
    assert (tmp_path / "checkpoints" / "step-00000005.ckpt.corrupt").exists()
    assert_same(model, undisturbed[0])
    assert metrics(tmp_path) == undisturbed[2]


def test_workers_and_cadence_of_saving_do_not_change_the_result(tmp_path, undisturbed):
    model, progress = train(tmp_path, data_workers=2, checkpoint_every=1, log_every=4)
    assert_same(model, undisturbed[0])
    assert progress.counts == undisturbed[1].counts
    assert progress.loss() == undisturbed[1].loss()


def test_another_seed_or_rate_is_another_result(tmp_path, undisturbed):
    others = [train(tmp_path / "a", seed=1)[0]]
    others += [train(tmp_path / "b", optimisation=OptimisationConfig(warmup_steps=2, learning_rate=0.002))[0]]
    for other in others:
        assert any(
            not torch.equal(one, two)
            for one, two in zip(other.state_dict().values(), undisturbed[0].state_dict().values(), strict=True)
        )


def test_a_finished_run_is_not_trained_further(tmp_path):
    model, _ = train(tmp_path, checkpoint_every=STEPS)
    again, progress = train(tmp_path, checkpoint_every=STEPS, stop=crash)
    assert progress.step == STEPS
    assert_same(again, model)


def test_the_spool_has_means_since_the_last_line_and_counts_what_was_consumed(tmp_path, undisturbed):
    train(tmp_path, log_every=4)
    each = [line["train/loss"] for _, line in undisturbed[2]]
    found = metrics(tmp_path)
    assert [step for step, _ in found] == [4, 6]
    assert found[0][1]["train/loss"] == pytest.approx(sum(each[:4]) / 4)
    assert found[1][1]["train/loss"] == pytest.approx(sum(each[4:]) / 2)
    names = {"loss", "learning_rate", "gradient_norm", "tokens_per_second", "images_per_second", "step_seconds"}
    load = {"system/train_cpu_percent", "system/train_memory_gib"}
    written = spool.read(tmp_path / "spool.jsonl")[0]["metrics"]
    assert {f"train/{name}" for name in names} | load == set(written)
    assert written["system/train_cpu_percent"] > 0
    assert 0.01 < written["system/train_memory_gib"] < 100
    batches = list(tiny.learner(tiny.model(), steps=STEPS).batches(first_step=0, workers=0))
    assert undisturbed[1].counts["images"] == sum(len(batch.images) for batch in batches)
    assert undisturbed[1].counts["tokens"] == sum(int((batch.documents >= 0).sum()) for batch in batches)


def test_a_loss_that_is_not_finite_is_a_divergence_at_its_step(tmp_path):
    with pytest.raises(Diverged, match="step 2"):
        train(tmp_path, optimisation=OptimisationConfig(optimizer="adamw", learning_rate=1e30, warmup_steps=0))


def test_intermediate_scores_come_at_their_steps_and_survive_a_crash(tmp_path):
    asked = []

    def score():
        asked.append(len(asked))
        return {"eval/colour": 0.25}

    with pytest.raises(Crash):
        train(tmp_path, checkpoint_every=3, intermediate=(2, score), stop=after_calls(5, crash))
    train(tmp_path, checkpoint_every=3, intermediate=(2, score))
    scored = [step for step, line in metrics(tmp_path) if "eval/colour" in line]
    assert scored == [2, 4, 6]
    assert len(asked) == 4  # step 4 came after the checkpoint of step 3 and was asked again


def test_a_pruner_sees_the_score_of_a_step_before_the_stop_at_it(tmp_path):
    scored = []
    with pytest.raises(Interrupted) as interrupted:
        train(
            tmp_path,
            intermediate=(2, lambda: scored.append(1) or {"eval/colour": 0.1}),
            stop=lambda: "pruned" if scored else None,
        )
    assert interrupted.value.reason == "pruned"
    assert checkpoints.load_newest(tmp_path / "checkpoints")["step"] == 2


def test_signal_handlers_stay_those_of_the_job(tmp_path):
    received = []
    handler = signal.signal(signal.SIGTERM, lambda *_: received.append(1))
    try:
        with pytest.raises(Interrupted):
            train(
                tmp_path,
                stop=after_calls(
                    2, lambda: os.kill(os.getpid(), signal.SIGTERM) or ("preempted" if received else None)
                ),
            )
        assert checkpoints.load_newest(tmp_path / "checkpoints")["step"] == 2
        train(tmp_path, stop=lambda: os.kill(os.getpid(), signal.SIGTERM))  # a job that chooses to go on goes on
        assert len(received) == 1 + STEPS - 3
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_training_works_off_the_main_thread(tmp_path):
    failures = []

    def body():
        try:
            train(tmp_path)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert not failures


def test_slurm_is_left_to_us(tmp_path, monkeypatch, undisturbed):
    for name, value in {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_ID": "1",
        "SLURM_PROCID": "0",
        "SLURM_JOB_NAME": "sweep",
    }.items():
        monkeypatch.setenv(name, value)
    model, _ = train(tmp_path)
    assert_same(model, undisturbed[0])


def test_a_work_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "work").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="work"):
        train(tmp_path / "work", checkpoint_every=1)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"device": "tpu"}, "training.device"),
        ({"device": "no such thing"}, "training.device"),
        pytest.param(
            {"device": "cuda"},
            "training.device",
            marks=pytest.mark.xfail(torch.cuda.is_available(), reason="there is a GPU", run=False),
        ),
        ({"device": "cpu", "precision": "bf16"}, "training.precision"),
    ],
)
def test_a_device_or_precision_that_is_not_here_is_a_configuration_error(settings, key, tmp_path):
    with pytest.raises(ConfigError) as error:
        train(tmp_path / "work", **settings)
    assert error.value.key == key


def test_spool_lines_are_plain_json(tmp_path, undisturbed):
    train(tmp_path)
    for line in (tmp_path / "spool.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"step", "time", "metrics"}
