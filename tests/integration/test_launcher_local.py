"""What only real processes can show: logs, environments, and who dies with whom."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm.launcher import Job, JobState, JobStatus, LauncherError, Resources
from slurm.local import LocalLauncher

TESTS = Path(__file__).parents[1]


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[LocalLauncher]:
    made = LocalLauncher(
        modules=["launcher_targets", "fractions"], capacity=2, gpus=["5", "7"], log=tmp_path / "server.log"
    )
    yield made
    made.close()


@pytest.fixture
def submit(launcher: LocalLauncher, tmp_path: Path):  # type: ignore[no-untyped-def]
    def send(name: str, target: str = "succeed", *, gpus: int = 0, cpus: int = 1, **payload: object) -> Path:
        log = tmp_path / f"{name}.log"
        launcher.submit(
            Job(
                name=name,
                target=f"launcher_targets:{target}",
                payload=payload,
                log=log,
                resources=Resources(gpus=gpus, cpus=cpus),
            )
        )
        return log

    return send


def until(condition: Callable[[], bool], launcher: LocalLauncher | None = None) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute in vain"
        if launcher is None:
            time.sleep(0.01)
        else:
            launcher.wait(0.1)


def ended(launcher: LocalLauncher, name: str) -> JobStatus:
    until(lambda: launcher.jobs()[name].state.ended, launcher)
    return launcher.jobs()[name]


def running_pid(launcher: LocalLauncher, name: str) -> int:
    until(lambda: launcher.jobs()[name].pid is not None, launcher)
    pid = launcher.jobs()[name].pid
    assert pid is not None
    return pid


def alive(pid: int) -> bool:
    """Running; not a dead process that nobody has buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_each_job_appends_to_its_own_log(launcher, submit):
    for _ in range(2):
        log = submit("a", text="first")
        ended(launcher, "a")
        launcher.forget("a")
    other = submit("b", "fail")
    ended(launcher, "b")
    assert log.read_text() == "hello first\nhello first\n"
    assert "wrong on purpose" in other.read_text()


def test_a_job_sees_its_threads_its_gpus_and_what_was_imported_before(launcher, submit, tmp_path):
    seen = tmp_path / "seen.json"
    submit("a", "describe", cpus=3, gpus=2, to=str(seen))
    ended(launcher, "a")
    inside = json.loads(seen.read_text())
    assert inside["environment"]["OMP_NUM_THREADS"] == "3"
    assert inside["environment"]["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert "fractions" in inside["modules"]
    assert inside["threads"] == 1
    assert inside["stdin"] == ""


def test_a_job_without_gpus_sees_none_and_gpus_come_back(launcher, submit, tmp_path):
    devices = []
    for number, gpus in enumerate([1, 1, 0, 2]):
        seen = tmp_path / f"seen{number}.json"
        submit(f"job{number}", "describe", gpus=gpus, to=str(seen))
        ended(launcher, f"job{number}")
        devices.append(json.loads(seen.read_text())["environment"]["CUDA_VISIBLE_DEVICES"])
    assert devices[2] == ""
    assert devices[0] in ("5", "7")
    assert set(devices[3].split(",")) == {"5", "7"}


def test_what_a_job_leaves_behind_is_ended(launcher, submit, tmp_path):
    to = tmp_path / "pid"
    submit("a", "leave_a_child_behind", to=str(to))
    assert ended(launcher, "a").state == JobState.SUCCEEDED
    until(lambda: not alive(int(to.read_text())))


def test_a_log_that_cannot_be_opened_is_a_failed_job(launcher, tmp_path):
    launcher.submit(Job(name="a", target="launcher_targets:succeed", payload={}, log=tmp_path / "no" / "folder.log"))
    status = ended(launcher, "a")
    assert status.state == JobState.FAILED
    assert "folder.log" in status.problem


def test_a_target_that_does_not_exist_is_a_failed_job(launcher, submit):
    log = submit("a", "no_such_function")
    assert ended(launcher, "a").exit_code == 1
    assert "no_such_function" in log.read_text()


def test_modules_that_cannot_be_imported_are_the_launchers_fault(tmp_path):
    launcher = LocalLauncher(modules=["no_such_module"], capacity=1, log=tmp_path / "server.log")
    launcher.submit(Job(name="a", target="launcher_targets:succeed", payload={}, log=tmp_path / "a.log"))
    with pytest.raises(LauncherError, match="no_such_module"):
        ended(launcher, "a")
    launcher.close()


def test_a_killed_server_loses_its_jobs_takes_them_along_and_is_replaced(launcher, submit):
    submit("a", "sleep", seconds=60)
    submit("b", "sleep", seconds=60)
    pids = [running_pid(launcher, name) for name in ("a", "b")]
    submit("queued")
    os.kill(parent(pids[0]), signal.SIGKILL)
    assert ended(launcher, "a").state == ended(launcher, "b").state == JobState.LOST
    until(lambda: not any(alive(pid) for pid in pids))
    assert ended(launcher, "queued").state == JobState.SUCCEEDED


def test_a_server_that_keeps_dying_is_reported(launcher, submit):
    def kill_servers() -> None:
        for attempt in range(10):
            submit(f"job{attempt}", "sleep", seconds=60)
            os.kill(parent(running_pid(launcher, f"job{attempt}")), signal.SIGKILL)
            ended(launcher, f"job{attempt}")

    with pytest.raises(LauncherError, match="3 times in a row"):
        kill_servers()


def test_closing_ends_every_job(launcher, submit):
    submit("a", "sleep", seconds=60)
    pid = running_pid(launcher, "a")
    launcher.close()
    until(lambda: not alive(pid))


OWNER = """
import sys, time
from pathlib import Path
from slurm.launcher import Job
from slurm.local import LocalLauncher
folder = Path(sys.argv[1])
launcher = LocalLauncher(modules=["launcher_targets"], capacity=1, log=folder / "server.log")
launcher.submit(Job(name="a", target="launcher_targets:sleep", payload={"seconds": 60}, log=folder / "a.log"))
while launcher.jobs()["a"].pid is None:
    launcher.wait(1.0)
print(launcher.jobs()["a"].pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_owner_dies_everything_dies(tmp_path, number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert owner.stdout is not None
        job = int(owner.stdout.readline())
        server = parent(job)
        owner.send_signal(number)
        owner.wait()
        until(lambda: not alive(job) and not alive(server))
    finally:
        with contextlib.suppress(ProcessLookupError):
            owner.kill()
        owner.wait()
