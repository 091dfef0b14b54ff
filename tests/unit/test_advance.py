"""What the dispatcher decides, with jobs that a fake launcher runs on a clock of its own."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_launcher import FakeLauncher, Simulation, exited, killed
from tally import TallyStage, drill, plan, run, tally

from ablations.advance import Dispatcher
from ablations.attempts import AttemptsFile
from ablations.ended import read_ended, read_trial
from ablations.errors import StoreError
from ablations.failures import from_exception
from ablations.job import EXIT_HELD, EXIT_STORE
from ablations.lease import acquire
from ablations.plan import Plan
from ablations.snapshot import Status
from ablations.stages import input_kind
from ablations.stop_request import clear_stop, request_stop
from ablations.store import Store
from mm1core.errors import Interrupted
from slurm.launcher import EXIT_INTERRUPTED, Job, JobState, JobStatus, Resources


class World:
    """A store, a fake launcher whose jobs really do their stages, and dispatchers on them."""

    def __init__(self, root: Path, capacity: int = 2) -> None:
        self.store = Store(root)
        self.launcher = FakeLauncher(self._simulate, capacity=capacity)
        self.behave: dict[str, Callable[[Job], JobStatus]] = {}
        """What a job does instead, by a stage's name in it."""
        self.ran: list[str] = []
        """Names of stages that were run to their end, in order."""
        self.most_running = 0
        self.warnings: list[str] = []
        self.said: list[str] = []

    def dispatcher(
        self, planned: Plan, *, gpus: int = 0, continuing: bool = False, replacing: bool = False
    ) -> Dispatcher:
        return Dispatcher(
            planned,
            store=self.store,
            launcher=self.launcher,
            resources=Resources(gpus=gpus),
            provenance=lambda: {"commit": None},
            say=self.said.append,
            warn=self.warnings.append,
            clock=lambda: self.launcher.now,
            continuing=continuing,
            replacing=replacing,
        )

    def finish(self, dispatcher: Dispatcher, *, passes: int = 1000) -> Status:
        for _ in range(passes):
            status = dispatcher.advance()
            self.most_running = max(self.most_running, len(status.running))
            if dispatcher.finished:
                return status
            self.launcher.wait(1.0)
        raise AssertionError(f"did not end: {status}")

    def carry_on(self, planned: Plan, *, passes: int = 1000) -> Status:
        """By a new dispatcher for every look."""
        for _ in range(passes):
            dispatcher = self.dispatcher(planned, continuing=True)
            status = dispatcher.advance()
            if dispatcher.finished:
                return status
            self.launcher.wait(1.0)
            self.launcher.left_alone()
        raise AssertionError(f"did not end: {status}")

    def run(self, planned: Plan) -> Status:
        return self.finish(self.dispatcher(planned))

    def states(self, planned: Plan) -> list[str]:
        return [self.trial_record(trial.key)["state"] for trial in planned.trials]

    def trial_record(self, key: str) -> dict[str, Any]:
        return json.loads((self.store.sweep("drill") / "trials" / key / "record.json").read_text())

    def _simulate(self, job: Job) -> Simulation:
        names = [stage["config"]["name"] for stage in job.payload["stages"]]
        behaviour = next((self.behave[name] for name in names if name in self.behave), self.do_stages)

        def interrupt() -> JobStatus:
            return exited(EXIT_INTERRUPTED)

        return Simulation(seconds=1.0, act=lambda: behaviour(job), on_cancel=interrupt)

    def do_stages(self, job: Job) -> JobStatus:
        """As ``ablations.job.run`` does, without processes, leases and signals."""
        marker = job.payload["marker"]
        for stage in job.payload["stages"]:
            folder = self.store.stage(stage["kind"], stage["key"])
            if folder.record(self.warnings.append) is not None:
                continue
            folder.work.mkdir(parents=True, exist_ok=True)
            inputs = {role: self.store.stage(input_kind(role), key).work for role, key in stage["inputs"].items()}
            try:
                stop = (lambda: "pruned" if os.path.exists(marker) else None) if marker else (lambda: None)
                result = run(TallyStage(**stage["config"]), inputs=inputs, work=folder.work, stop=stop)
            except Interrupted:
                return exited(EXIT_INTERRUPTED)
            except Exception as error:
                folder.write_failure(from_exception(error, attempt=job.payload["attempt"]))
                return exited(1)
            provenance = {"seconds": 1.0}
            record = {"kind": stage["kind"], "key": stage["key"], "result": result, "provenance": provenance}
            folder.write_record(record)
            self.ran.append(stage["config"]["name"])
        return exited(0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store")


def test_every_stage_runs_once_and_after_its_inputs(world):
    planned = drill(arms=3, seeds=2)
    status = world.run(planned)
    assert status.counts["done"] == status.total == 6
    assert len(world.ran) == len(set(world.ran)) == 1 + 2 + 12
    assert world.ran[0] == "root"
    assert world.ran.index("middle 1") < world.ran.index("train 0 1") < world.ran.index("score 0 1")
    assert world.most_running == world.launcher.capacity
    assert world.states(planned) == ["done"] * 6


def test_a_trials_record_tells_its_score(world):
    planned = drill(arms=1, seeds=1)
    world.run(planned)
    (trial,) = planned.trials
    record = world.trial_record(trial.key)
    result = world.store.stage("tally", trial.key).record(world.warnings.append)["result"]
    assert record["trial"] == trial.key
    assert (record["arm"], record["seed"]) == ("arm-arm 0", 0)
    assert record["objective"] == result["metrics"]["score"] == record["metrics"]["score"]
    assert record["failure"] is None
    assert record["seconds"] == 4.0


def test_a_second_run_starts_nothing(world):
    planned = drill()
    world.run(planned)
    submitted = list(world.launcher.submitted)
    status = world.run(planned)
    assert world.launcher.submitted == submitted
    assert status.counts["done"] == 6
    assert world.warnings == []


def test_a_dispatcher_that_is_replaced_at_any_moment_changes_nothing(tmp_path):
    quiet = World(tmp_path / "quiet")
    planned = drill()
    quiet.run(planned)
    for passes in range(1, 7):
        world = World(tmp_path / f"disturbed{passes}")
        dispatcher = world.dispatcher(planned)
        for _ in range(passes):
            dispatcher.advance()
            world.launcher.wait(1.0)
        world.launcher = FakeLauncher(world._simulate, capacity=2)
        assert world.run(planned).counts["done"] == 6
        assert len(world.ran) == len(set(world.ran))
        for trial in planned.trials:
            assert world.trial_record(trial.key) == quiet.trial_record(trial.key)


def test_work_that_another_sweep_did_is_not_done_again(world):
    first, second = drill(arms=2), drill(arms=3)
    world.run(first)
    before = len(world.ran)
    world.run(second)
    assert len(world.ran) - before == 4  # two seeds of the third arm, two stages each


def test_a_code_error_fails_its_trial_alone_and_is_not_repeated(world):
    planned = drill(arms=3, seeds=1)
    world.behave["train 1 0"] = failing(world, "raise")
    status = world.run(planned)
    assert (status.counts["done"], status.counts["failed"]) == (2, 1)
    record = world.trial_record(planned.trials[1].key)
    assert record["state"] == "failed"
    assert record["failure"]["class"] == "code_error"
    assert "wrong on purpose" in record["failure"]["error"]
    assert Path(record["failure"]["log"]).name == "attempt-1.log"
    assert world.launcher.submitted.count(f"trial-{planned.trials[1].key}") == 1


def test_the_next_run_tries_failed_trials_again(world):
    planned = drill(arms=2, seeds=1)
    world.behave["train 1 0"] = failing(world, "raise")
    world.run(planned)
    del world.behave["train 1 0"]
    assert world.run(planned).counts["done"] == 2
    assert world.trial_record(planned.trials[1].key)["state"] == "done"
    assert world.store.stage("training", planned.trials[1].stages[2].key).failure(pytest.fail) is None


def test_a_shared_stage_that_fails_takes_along_what_needs_it_and_nothing_else(world):
    planned = drill(arms=2, seeds=2)
    world.behave["middle 1"] = failing(world, "raise")
    world.run(planned)
    assert {(trial.seed, state) for trial, state in zip(planned.trials, world.states(planned), strict=True)} == {
        (0, "done"),
        (1, "failed"),
    }
    assert not any(name.endswith(" 1") for name in world.ran)


def test_killed_jobs_are_tried_three_times(world):
    planned = drill(arms=2, seeds=1)
    world.behave["train 0 0"] = lambda job: killed(9)
    status = world.run(planned)
    assert (status.counts["done"], status.counts["failed"]) == (1, 1)
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 3
    failure = world.trial_record(planned.trials[0].key)["failure"]
    assert (failure["class"], failure["attempt"]) == ("killed", 3)
    assert Path(failure["log"]).name == "attempt-3.log"


def test_a_job_that_gets_further_each_time_is_tried_as_often_as_it_takes(world):
    """As on a cluster that preempts: killed six times, and a checkpoint further every time."""
    planned = drill(arms=1, seeds=1)
    kills = []

    def get_a_step_further(job: Job) -> JobStatus:
        stage = job.payload["stages"][0]
        if len(kills) == 6:
            return world.do_stages(job)
        kills.append(stage["key"])
        checkpoints = world.store.stage(stage["kind"], stage["key"]).work / "checkpoints"
        checkpoints.mkdir(parents=True, exist_ok=True)
        (checkpoints / f"step-{len(kills):08d}.json").write_text(json.dumps(["x", 0]))
        return killed(9)

    world.behave["train 0 0"] = get_a_step_further
    status = world.carry_on(planned)
    assert status.counts["done"] == 1
    assert len(kills) == 6


def test_a_job_that_was_killed_once_ends_well_and_attempts_are_counted_over_runs(world):
    planned = drill(arms=1, seeds=1)
    attempts = []

    def die_once(job: Job) -> JobStatus:
        attempts.append(job.payload["attempt"])
        job.log.touch()
        return killed(9) if len(attempts) == 1 else world.do_stages(job)

    world.behave["train 0 0"] = die_once
    assert world.run(planned).counts["done"] == 1
    score = world.store.stage("tally", planned.trials[0].key)
    (score.path / "record.json").unlink()
    (world.store.stage("training", planned.trials[0].stages[2].key).path / "record.json").unlink()
    world.run(planned)
    assert attempts == [1, 2, 3]


def test_out_of_memory_is_tried_twice(world):
    planned = drill(arms=1, seeds=1)
    world.behave["train 0 0"] = failing(world, "memory")
    assert world.run(planned).counts["failed"] == 1
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 2
    assert world.trial_record(planned.trials[0].key)["failure"]["class"] == "out_of_memory"


def test_a_divergence_is_kept_and_never_repeated(world):
    planned = drill(arms=2, seeds=1)
    world.behave["train 0 0"] = failing(world, "diverge")
    world.run(planned)
    assert world.states(planned) == ["diverged", "done"]
    submitted = len(world.launcher.submitted)
    status = world.run(planned)
    assert len(world.launcher.submitted) == submitted
    assert status.counts["diverged"] == 1
    assert world.trial_record(planned.trials[0].key)["failure"]["class"] == "diverged"


def test_an_end_without_a_record_is_a_failure(world):
    planned = drill(arms=1, seeds=1)
    world.behave["train 0 0"] = lambda job: exited(0)
    assert world.run(planned).counts["failed"] == 1
    assert "without a record" in world.trial_record(planned.trials[0].key)["failure"]["error"]


def test_an_old_failure_is_not_taken_for_a_new_one(world):
    planned = drill(arms=1, seeds=1)
    folder = world.store.stage("training", planned.trials[0].stages[2].key)
    folder.write_failure({"class": "data_error", "error": "old", "traceback_tail": "", "attempt": 99})
    world.behave["train 0 0"] = lambda job: exited(3)
    world.run(planned)
    failure = world.trial_record(planned.trials[0].key)["failure"]
    assert (failure["class"], failure["attempt"]) == ("code_error", 1)


def test_lost_jobs_are_run_again(world):
    planned = drill(arms=1, seeds=1)
    dispatcher = world.dispatcher(planned)
    status = dispatcher.advance()
    world.launcher.lose(status.running[0].name)
    assert world.finish(dispatcher).counts["done"] == 1


def test_a_job_whose_node_failed_runs_on_another_one(world):
    planned = drill(arms=1, seeds=1)
    avoided: list[tuple[str, ...]] = []

    def fail_twice(job: Job) -> JobStatus:
        avoided.append(job.resources.avoid)
        if len(avoided) <= 2:
            return JobStatus(state=JobState.LOST, node=f"n{len(avoided)}", node_failed=True)
        return world.do_stages(job)

    world.behave["train 0 0"] = fail_twice
    assert world.carry_on(planned).counts["done"] == 1
    assert avoided == [(), ("n1",), ("n1", "n2")]


def test_the_same_failure_in_every_arm_stops_the_sweep(world):
    planned = drill(arms=6, seeds=1)
    for number in range(6):
        world.behave[f"train {number} 0"] = failing(world, "raise")
    status = world.run(planned)
    assert "same way" in status.problem
    assert status.counts["failed"] < 6
    assert status.counts["waiting"] > 0
    assert status.counts["failed"] >= 3


def test_an_arm_that_always_fails_does_not_stop_the_others(world):
    planned = drill(arms=4, seeds=3)
    for seed in range(3):
        world.behave[f"train 0 {seed}"] = failing(world, "raise")
    status = world.run(planned)
    assert (status.counts["failed"], status.counts["done"]) == (3, 9)


def test_a_stage_held_elsewhere_is_waited_for(world):
    planned = drill(arms=1, seeds=1)
    folder = world.store.stage("tally", planned.trials[0].stages[0].key)
    folder.path.mkdir(parents=True)
    lease = acquire(folder.path)
    dispatcher = world.dispatcher(planned)
    for _ in range(3):
        assert dispatcher.advance().running == ()
        world.launcher.wait(1.0)
    assert not dispatcher.finished
    lease.release()
    assert world.finish(dispatcher).counts["done"] == 1


def test_a_job_that_finds_its_stage_held_is_put_back_and_not_counted_as_failed(world):
    planned = drill(arms=1, seeds=1)
    answers = [exited(EXIT_HELD)] * 12
    world.behave["train 0 0"] = lambda job: answers.pop() if answers else world.do_stages(job)
    assert world.run(planned).counts["done"] == 1


def test_stopping_starts_nothing_more_and_asks_what_runs(world):
    planned = drill(arms=3, seeds=2)
    dispatcher = world.dispatcher(planned)
    dispatcher.advance()
    world.launcher.wait(1.0)
    dispatcher.advance()  # both middle stages run
    dispatcher.stop()
    submitted = len(world.launcher.submitted)
    status = world.finish(dispatcher)
    assert len(world.launcher.submitted) == submitted
    assert status.counts["waiting"] == 6
    assert status.counts["failed"] == 0
    assert world.run(planned).counts["done"] == 6


def test_being_interrupted_by_somebody_else_is_no_failure(world):
    planned = drill(arms=1, seeds=1)
    answers = [exited(EXIT_INTERRUPTED)] * 3
    world.behave["train 0 0"] = lambda job: answers.pop() if answers else world.do_stages(job)
    assert world.run(planned).counts["done"] == 1


def test_pruning_stops_what_runs_and_starts_nothing_of_the_arm(world):
    planned = drill(arms=3, seeds=2)
    dispatcher = world.dispatcher(planned)
    while not any(job.name.startswith("trial-") for job in dispatcher.advance().running):
        world.launcher.wait(1.0)
    dispatcher.prune("arm-arm 0")
    status = world.finish(dispatcher)
    assert (status.counts["pruned"], status.counts["done"]) == (2, 4)
    assert world.states(planned)[:2] == ["pruned", "pruned"]
    assert not any(name.startswith("score 0") for name in world.ran)
    submitted = len(world.launcher.submitted)
    assert world.run(planned).counts["pruned"] == 2
    assert len(world.launcher.submitted) == submitted


def test_pruning_drops_shared_stages_that_nobody_needs_any_more(world):
    root = tally("root")
    only = tally("only for a", [root])
    planned = plan({
        ("a", 0): (root, only, tally("a0", [only])),
        ("a", 1): (root, only, tally("a1", [only])),
        ("b", 0): (root, tally("b0", [root])),
    })  # fmt: skip
    dispatcher = world.dispatcher(planned)
    dispatcher.advance()
    dispatcher.prune("arm-a")
    world.finish(dispatcher)
    assert sorted(world.ran) == ["b0", "root"]


def test_trials_can_be_added_while_others_run(world):
    first, both = drill(arms=1, seeds=2), drill(arms=3, seeds=2)
    dispatcher = world.dispatcher(first)
    dispatcher.advance()
    world.launcher.wait(1.0)
    dispatcher.advance()
    dispatcher.extend(both)
    status = world.finish(dispatcher)
    assert status.counts["done"] == 6
    assert len(world.ran) == len(set(world.ran))


def test_a_stage_that_becomes_shared_while_it_runs_runs_once(world):
    train = tally("train")
    one = {("a", 0): (train, tally("score a", [train]))}
    two = {**one, ("b", 0): (train, tally("score b", [train]))}
    dispatcher = world.dispatcher(plan(one))
    dispatcher.advance()
    dispatcher.extend(plan(two))
    assert world.finish(dispatcher).counts["done"] == 2
    assert sorted(world.ran) == ["score a", "score b", "train"]


def test_a_stage_that_failed_fails_trials_that_are_added_later(world):
    train = tally("train")
    one = {("a", 0): (train, tally("score a", [train])), ("c", 0): (tally("other"),)}
    world.behave["train"] = failing(world, "raise")
    dispatcher = world.dispatcher(plan(one))
    world.finish(dispatcher)
    dispatcher.extend(plan({**one, ("b", 0): (train, tally("score b", [train]))}))
    status = world.finish(dispatcher)
    assert (status.counts["failed"], status.counts["done"]) == (2, 1)


def test_a_corrupt_record_is_set_aside_and_the_stage_done_again(world):
    planned = drill(arms=2, seeds=1)
    world.run(planned)
    before = world.trial_record(planned.trials[0].key)
    folder = world.store.stage("tally", planned.trials[0].key).path
    whole = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text('{"kind": "ta')
    world.ran.clear()
    assert world.run(planned).counts["done"] == 2
    assert world.ran == ["score 0 0"]
    assert len(world.warnings) == 1
    assert (folder / "record.json.corrupt-1").exists()
    assert json.loads((folder / "record.json").read_text()) == whole
    assert world.trial_record(planned.trials[0].key) == before


def test_a_lost_trial_record_is_made_again_without_work(world):
    planned = drill(arms=1, seeds=1)
    world.run(planned)
    before = world.trial_record(planned.trials[0].key)
    folder = world.store.sweep("drill")
    ended = read_ended(folder)
    (folder / "trials" / planned.trials[0].key / "record.json").unlink()
    (folder / "trials.jsonl").unlink()
    world.ran.clear()
    world.run(planned)
    assert world.trial_record(planned.trials[0].key) == before
    assert read_ended(folder) == ended
    assert world.ran == []


@pytest.mark.parametrize("damage", ["[]", '{"trial"', "[" * 200_000, '{"state": "done", "trial": 1}', None])
def test_a_damaged_trial_record_is_set_aside_and_made_again_without_work(world, damage):
    planned = drill(arms=1, seeds=1)
    world.run(planned)
    before = world.trial_record(planned.trials[0].key)
    folder = world.store.sweep("drill")
    ended = read_ended(folder)
    record = folder / "trials" / planned.trials[0].key / "record.json"
    record.unlink()
    if damage is None:
        record.mkdir()
    else:
        record.write_text(damage)
        with (folder / "trials.jsonl").open("a") as lines:
            lines.write(damage + "\n")
    assert read_trial(record) is None
    assert read_ended(folder) == ended
    world.ran.clear()
    world.run(planned)
    assert world.trial_record(planned.trials[0].key) == before
    assert record.with_name("record.json.corrupt-1").exists()
    assert world.ran == []


def test_a_disk_that_refuses_ends_the_run_with_a_remedy(world):
    planned = drill(arms=1, seeds=1)

    def refuse(job: Job) -> JobStatus:
        job.log.write_text("12:00:00 the store cannot be written: [Errno 28] No space left on device\n")
        return exited(EXIT_STORE)

    world.behave["root"] = refuse
    with pytest.raises(StoreError, match="No space left"):
        world.run(planned)
    world.behave.clear()
    assert world.run(planned).counts["done"] == 1


def test_what_ended_beside_a_job_that_could_not_write_is_settled_all_the_same(world):
    """So that whoever comes next, with room on the disk, finds no job that ended long ago."""
    planned = drill(arms=2, seeds=1)
    world.behave["train 0 0"] = lambda job: exited(EXIT_STORE)
    troubles = 0
    for _ in range(100):
        dispatcher = world.dispatcher(planned, continuing=True)
        try:
            dispatcher.advance()
        except StoreError:
            troubles += 1
            ended = {name for name, status in world.launcher.jobs().items() if status.state.ended}
            assert not ended
            world.behave.clear()
        if dispatcher.finished:
            break
        world.launcher.wait(1.0)
        world.launcher.left_alone()
    assert troubles == 1
    assert world.states(planned) == ["done", "done"]
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 2
    assert world.launcher.submitted.count(f"trial-{planned.trials[1].key}") == 1


def failing(world: World, fault: str) -> Callable[[Job], JobStatus]:
    """The job does its stages, and the one that was named goes wrong."""

    def behave(job: Job) -> JobStatus:
        names = [stage["config"]["name"] for stage in job.payload["stages"]]
        broken = next(name for name in names if name in world.behave)
        payload = json.loads(json.dumps(dict(job.payload)))
        for stage in payload["stages"]:
            if stage["config"]["name"] == broken:
                stage["config"]["fault"] = fault
        return world.do_stages(Job(name=job.name, target=job.target, payload=payload, log=job.log))

    return behave


def test_jobs_of_an_earlier_dispatcher_are_gone_on_with(world):
    """As on a cluster: a killed dispatcher's jobs are still in the queue. They keep their attempt, and are not sent
    twice; one that nothing needs is ended."""
    planned = drill(arms=2, seeds=1)
    first = world.dispatcher(planned)
    while not any(name.startswith("trial-") for name in world.launcher.submitted):
        first.advance()
        world.launcher.wait(1.0)
    left = [name for name in world.launcher.jobs() if name.startswith("trial-")]
    former, world.launcher = world.launcher, FakeLauncher(world._simulate, capacity=2)
    for name in left:
        world.launcher.inherit(former.sent[name])
    world.launcher.inherit(replace(former.sent[left[0]], name="trial-removed"))
    second = world.dispatcher(planned)
    assert second.status().counts["running"] == len(left)
    status = world.finish(second)
    assert status.counts["done"] == 2
    assert all(world.launcher.submitted.count(name) == 1 for name in left)
    assert world.launcher.jobs() == {}
    assert len(world.ran) == len(set(world.ran))


def test_queued_jobs_of_another_program_are_sent_anew_and_those_that_run_are_left_to_it(world):
    planned = drill(arms=3, seeds=1)
    world.launcher = FakeLauncher(world._simulate, capacity=3, gpus=1)
    first = world.dispatcher(planned, gpus=1, continuing=True)
    while sum(name.startswith("trial-") for name in world.launcher.jobs()) < 3:
        first.advance()
        world.launcher.wait(1.0)
    states = {name: status.state for name, status in world.launcher.jobs().items()}
    waiting = {name for name, state in states.items() if state == JobState.QUEUED}
    (running,) = states.keys() - waiting
    world.launcher.left_alone()
    second = world.dispatcher(planned, gpus=1, continuing=True, replacing=True)
    assert second.replaces
    assert world.finish(second).counts["done"] == 3
    assert {name: world.launcher.submitted.count(name) for name in states} == {running: 1} | dict.fromkeys(waiting, 2)
    assert not second.replaces
    assert any("1 job" in text for text in world.warnings)
    assert len(world.ran) == len(set(world.ran))


def test_what_another_program_failed_at_counts_for_nothing_when_it_is_replaced(world):
    planned = drill(arms=1, seeds=1)
    world.behave["train 0 0"] = failing(world, "raise")
    first = world.dispatcher(planned, continuing=True)
    while not any(status.state == JobState.FAILED for status in world.launcher.jobs().values()):
        first.advance()
        world.launcher.wait(1.0)
    world.launcher.left_alone()
    world.behave.clear()
    assert world.finish(world.dispatcher(planned, continuing=True, replacing=True)).counts["done"] == 1


def test_a_run_that_a_new_process_carries_on_at_every_look_ends_like_one(world, tmp_path):
    quiet = World(tmp_path / "quiet")
    planned = drill(arms=3, seeds=2)
    quiet.run(planned)
    assert world.carry_on(planned).counts["done"] == 6
    assert len(world.ran) == len(set(world.ran)) == len(quiet.ran)
    assert sorted(world.launcher.submitted) == sorted(quiet.launcher.submitted)
    for trial in planned.trials:
        assert world.trial_record(trial.key) == quiet.trial_record(trial.key)


def test_attempts_are_counted_over_the_processes_of_a_run(world):
    planned = drill(arms=2, seeds=1)
    world.behave["train 0 0"] = lambda job: killed(9)
    status = world.carry_on(planned)
    assert (status.counts["done"], status.counts["failed"]) == (1, 1)
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 3
    status = world.carry_on(planned)
    assert status.counts["failed"] == 1
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 3


def test_a_new_run_forgets_the_failures_of_the_one_before(world):
    planned = drill(arms=2, seeds=1)
    world.behave["train 0 0"] = failing(world, "raise")
    assert world.carry_on(planned).counts["failed"] == 1
    del world.behave["train 0 0"]
    assert world.carry_on(planned).counts["failed"] == 1
    assert world.run(planned).counts["done"] == 2


def test_a_retry_of_one_trial_is_not_held_up_by_the_failures_of_the_others(world):
    planned = drill(arms=4, seeds=1)
    for number in range(4):
        world.behave[f"train {number} 0"] = failing(world, "raise")
    for _ in range(30):
        dispatcher = world.dispatcher(planned, continuing=True)
        dispatcher.advance()
        world.launcher.wait(1.0)
        world.launcher.left_alone()
    assert dispatcher.problem
    assert world.states(planned) == ["failed"] * 4
    world.behave.clear()
    said = len(world.said)
    trial = planned.trials[0]
    AttemptsFile(world.store.sweep("drill")).forget(
        [world.trial_record(trial.key)["failure"]["stage"].partition("/")[2]], jobs=[f"trial-{trial.key}"]
    )
    status = world.carry_on(planned)
    assert (status.counts["done"], status.counts["failed"]) == (1, 3)
    assert world.trial_record(trial.key)["state"] == "done"
    assert len(world.said) - said == 1  # nobody is told twice of what failed before


@pytest.mark.parametrize("others_work", [False, True])
def test_the_same_failure_everywhere_is_seen_over_the_processes_of_a_run(world, others_work):
    planned = drill(arms=4, seeds=1)
    for number in range(1 if others_work else 0, 4):
        world.behave[f"train {number} 0"] = failing(world, "raise")
    for _ in range(30):
        dispatcher = world.dispatcher(planned, continuing=True)
        dispatcher.advance()
        world.launcher.wait(1.0)
        world.launcher.left_alone()
    assert bool(dispatcher.problem) != others_work


class Killed(BaseException):
    """The dispatcher is killed at this moment."""


def test_an_attempt_whose_dispatcher_is_killed_just_after_it_took_note_is_not_counted_twice(world, monkeypatch):
    def die(name: str) -> None:
        raise Killed

    planned = drill(arms=1, seeds=1)
    world.behave["train 0 0"] = lambda job: killed(9)
    for look in range(100):
        dispatcher = world.dispatcher(planned, continuing=True)
        with monkeypatch.context() as patch, suppress(Killed):
            if look % 2:
                patch.setattr(world.launcher, "forget", die)
            dispatcher.advance()
        if dispatcher.finished:
            break
        world.launcher.wait(1.0)
        world.launcher.left_alone()
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 3
    assert world.trial_record(planned.trials[0].key)["failure"]["attempt"] == 3


def test_what_the_launcher_has_queued_counts_as_waiting(world):
    world.launcher = FakeLauncher(world._simulate, capacity=2, gpus=1)
    dispatcher = world.dispatcher(drill(arms=2, seeds=1), gpus=1)
    most = 0
    for _ in range(100):
        status = dispatcher.advance()
        status = dispatcher.advance()
        most = max(most, status.counts["running"])
        assert len(status.running) <= 1
        if dispatcher.finished:
            break
        world.launcher.wait(1.0)
    assert (most, status.counts["done"]) == (1, 2)


def test_cancelled_trials_are_given_up_and_nothing_is_begun_for_them_alone(world):
    root = tally("root")
    only = tally("only for a", [root])
    planned = plan({
        ("a", 0): (root, only, tally("a0", [only])),
        ("a", 1): (root, only, tally("a1", [only])),
        ("b", 0): (root, tally("b0", [root])),
    })  # fmt: skip
    dispatcher = world.dispatcher(planned)
    dispatcher.advance()
    for trial in planned.trials[:2]:
        request_stop(world.store.sweep("drill"), kill=False, trial=trial.key)
    status = world.finish(dispatcher)
    assert (status.counts["cancelled"], status.counts["done"], status.counts["waiting"]) == (2, 1, 0)
    assert sorted(world.ran) == ["b0", "root"]
    dispatcher.extend(planned)  # as a search does
    assert dispatcher.advance().counts["cancelled"] == 2
    clear_stop(world.store.sweep("drill"))
    assert world.run(planned).counts["done"] == 3


@pytest.mark.parametrize("by_new_processes", [False, True])
def test_what_runs_for_cancelled_trials_alone_is_asked_to_end(world, by_new_processes):
    planned = drill(arms=2, seeds=1)
    dispatcher = world.dispatcher(planned, continuing=by_new_processes)
    while not any(job.name.startswith("trial-") for job in dispatcher.advance().running):
        world.launcher.wait(1.0)
    request_stop(world.store.sweep("drill"), kill=False, trial=planned.trials[0].key)
    if by_new_processes:
        world.launcher.left_alone()
    status = world.carry_on(planned) if by_new_processes else world.finish(dispatcher)
    assert (status.counts["cancelled"], status.counts["done"], status.counts["failed"]) == (1, 1, 0)
    assert "train 0 0" not in world.ran
    outcomes = {one.job: one.outcome for one in AttemptsFile(world.store.sweep("drill")).read()}
    assert outcomes[f"trial-{planned.trials[0].key}"] == "cancelled"
    assert world.launcher.submitted.count(f"trial-{planned.trials[0].key}") == 1


def test_a_shared_stage_that_runs_ends_with_the_last_trial_that_needs_it(world):
    planned = drill(arms=2, seeds=1)
    dispatcher = world.dispatcher(planned)
    dispatcher.advance()
    assert world.launcher.submitted == [f"tally-{planned.trials[0].stages[0].key}"]
    request_stop(world.store.sweep("drill"), kill=False, trial=planned.trials[0].key)
    assert len(dispatcher.advance().running) == 1
    request_stop(world.store.sweep("drill"), kill=False, trial=planned.trials[1].key)
    assert world.finish(dispatcher).counts["cancelled"] == 2
    assert world.ran == []


def test_what_an_attempt_held_is_noted_as_the_launcher_says(world):
    planned = drill(arms=1, seeds=1)
    answers = [replace(killed(9), seconds=5.0), replace(exited(EXIT_INTERRUPTED), seconds=7.0)]
    world.behave["train 0 0"] = lambda job: answers.pop() if answers else replace(world.do_stages(job), seconds=11.0)
    world.run(planned)
    attempts = AttemptsFile(world.store.sweep("drill")).read()
    assert [one.seconds for one in attempts if one.job.startswith("trial-")] == [7.0, 5.0, 11.0]
