"""What happens in a job's process: stages in order, each recorded; leases respected; requests to stop heeded."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tally import tally

from ablations.job import EXIT_HELD, EXIT_STORE, job_payload, run
from ablations.lease import acquire
from ablations.stages import Stage
from ablations.store import StageFolder, Store
from slurm.launcher import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK

FORK = multiprocessing.get_context("fork")


class Job:
    """A job in a process of its own, as a launcher would start it."""

    def __init__(self, store: Path, stages: Sequence[Stage], *, marker: Path | None = None, attempt: int = 1) -> None:
        payload = job_payload(
            stages, store=store, marker=marker, attempt=attempt, threads=1, provenance={"commit": "c0ffee"}
        )
        payload = json.loads(json.dumps(payload))  # JSON is all that travels
        self.process = FORK.Process(target=lambda: os._exit(run(payload)))
        self.process.start()

    def code(self) -> int | None:
        self.process.join(60)
        return self.process.exitcode


def folder(store: Path, stage: Stage) -> StageFolder:
    return Store(store).stage(stage.kind, stage.key)


def record(store: Path, stage: Stage) -> dict[str, Any] | None:
    return folder(store, stage).record(lambda text: pytest.fail(text))


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute in vain"
        time.sleep(0.005)


def spooled(store: Path, stage: Stage) -> int:
    path = folder(store, stage).work / "spool.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


FIRST = tally("first", steps=2)
SECOND = tally("second", [FIRST], steps=2)
SLOW = tally("slow", steps=100, step_seconds=0.02)


def test_stages_run_in_order_and_each_has_its_record(tmp_path):
    assert Job(tmp_path, [FIRST, SECOND], attempt=4).code() == EXIT_OK
    found = record(tmp_path, SECOND)
    assert found is not None
    assert (found["kind"], found["key"], found["version"]) == ("tally", SECOND.key, 1)
    assert found["inputs"] == {"tally:0": FIRST.key}
    assert found["config"] == {"name": "second", "steps": 2}  # what does not count is not recorded
    assert found["result"]["metrics"]["score"] > 0
    made = found["provenance"]
    assert (made["commit"], made["attempt"], made["resumed"]) == ("c0ffee", 4, False)
    assert made["host"]
    assert 0 <= made["seconds"] <= made["finished"] - made["started"] + 0.002
    assert list(tmp_path.rglob("lease-*")) == []


def test_what_is_recorded_is_passed_over(tmp_path):
    assert Job(tmp_path, [FIRST]).code() == EXIT_OK
    before = record(tmp_path, FIRST)
    assert Job(tmp_path, [FIRST, SECOND], attempt=2).code() == EXIT_OK
    assert record(tmp_path, FIRST) == before


def test_an_input_that_is_not_what_was_recorded_is_set_aside_and_done_again(tmp_path):
    assert Job(tmp_path, [FIRST]).code() == EXIT_OK
    file = folder(tmp_path, FIRST).work / "digest"
    whole = file.read_text()
    file.write_text("0" * len(whole))
    assert Job(tmp_path, [SECOND]).code() == EXIT_ERROR
    failure = folder(tmp_path, SECOND).failure(pytest.fail)
    assert failure is not None
    assert failure["class"] == "data_error"
    assert record(tmp_path, SECOND) is None
    assert record(tmp_path, FIRST) is None
    assert Job(tmp_path, [FIRST, SECOND], attempt=2).code() == EXIT_OK
    assert file.read_text() == whole


def test_a_stage_that_raises_leaves_its_failure_and_ends_the_job(tmp_path):
    broken = tally("broken", fault="raise")
    after = tally("after", [broken])
    assert Job(tmp_path, [broken, after], attempt=3).code() == EXIT_ERROR
    failure = folder(tmp_path, broken).failure(pytest.fail)
    assert failure is not None
    assert (failure["class"], failure["attempt"]) == ("code_error", 3)
    assert "wrong on purpose" in failure["error"]
    assert "tally.py" in failure["traceback_tail"]
    assert record(tmp_path, broken) is None
    assert not folder(tmp_path, after).path.exists()
    assert list(tmp_path.rglob("lease-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_signal_interrupts_and_the_next_attempt_continues(tmp_path, number):
    job = Job(tmp_path, [SLOW])
    until(lambda: spooled(tmp_path, SLOW) > 3)
    assert job.process.pid is not None
    os.kill(job.process.pid, number)
    assert job.code() == EXIT_INTERRUPTED
    done = spooled(tmp_path, SLOW)
    assert done < 100
    assert record(tmp_path, SLOW) is None
    assert Job(tmp_path, [SLOW], attempt=2).code() == EXIT_OK
    found = record(tmp_path, SLOW)
    assert found is not None
    assert found["provenance"]["resumed"]
    assert spooled(tmp_path, SLOW) == 100


def test_the_marker_stops_the_stage_and_starts_no_other(tmp_path):
    marker = tmp_path / "stop"
    job = Job(tmp_path, [SLOW, SECOND], marker=marker)
    until(lambda: spooled(tmp_path, SLOW) > 3)
    marker.touch()
    assert job.code() == EXIT_INTERRUPTED
    assert spooled(tmp_path, SLOW) < 100
    assert Job(tmp_path, [FIRST], marker=marker).code() == EXIT_INTERRUPTED
    assert record(tmp_path, FIRST) is None


def test_a_stage_that_somebody_holds_is_left_alone(tmp_path):
    folder(tmp_path, FIRST).path.mkdir(parents=True)
    lease = acquire(folder(tmp_path, FIRST).path)
    assert Job(tmp_path, [FIRST]).code() == EXIT_HELD
    assert record(tmp_path, FIRST) is None
    assert folder(tmp_path, FIRST).failure(pytest.fail) is None
    lease.release()
    assert Job(tmp_path, [FIRST]).code() == EXIT_OK


def test_who_lost_the_lease_does_not_commit(tmp_path):
    job = Job(tmp_path, [SLOW])
    until(lambda: spooled(tmp_path, SLOW) > 3)
    (lease,) = folder(tmp_path, SLOW).path.glob("lease-*")
    lease.unlink()  # as a taker-over does
    (lease.parent / "lease-2").write_text(json.dumps({"token": "another"}))
    assert job.code() == EXIT_HELD
    assert record(tmp_path, SLOW) is None
    assert (lease.parent / "lease-2").exists()


def test_a_killed_job_is_no_obstacle(tmp_path):
    job = Job(tmp_path, [SLOW])
    until(lambda: spooled(tmp_path, SLOW) > 3)
    job.process.kill()
    job.process.join()
    assert Job(tmp_path, [SLOW], attempt=2).code() == EXIT_OK
    assert spooled(tmp_path, SLOW) <= 101  # at most the step that was under way is done twice


def test_a_plan_of_another_version_is_refused(tmp_path):
    payload = job_payload([FIRST], store=tmp_path, marker=None, attempt=1, threads=1, provenance={})
    payload["stages"][0]["version"] = 2
    process = FORK.Process(target=lambda: os._exit(run(payload)))
    process.start()
    process.join(60)
    assert process.exitcode == EXIT_ERROR
    failure = folder(tmp_path, FIRST).failure(pytest.fail)
    assert failure is not None
    assert failure["class"] == "config_error"


def test_a_place_that_cannot_be_written_is_the_stores_fault(tmp_path):
    (tmp_path / "tally").write_text("in the way of the folder")
    assert Job(tmp_path, [FIRST]).code() == EXIT_STORE
