"""What every launcher promises, asked of the fake one on its own clock, and of the real ones: here, and on SLURM."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_launcher import FakeLauncher, Simulation, exited, killed

from slurm.cluster import ClusterLauncher
from slurm.commands import Slurm
from slurm.launcher import Job, JobState, JobStatus, Launcher, Resources
from slurm.local import LocalLauncher
from slurm.profile import Profile
from slurm.script import Site


def simulate(job: Job) -> Simulation:
    """What ``launcher_targets`` does, without a process."""
    target, payload = job.target.partition(":")[2], job.payload
    seconds = payload.get("seconds", 0.0)
    if target == "exit_with":
        return Simulation(act=lambda: exited(payload["code"]))
    if target == "fail":
        return Simulation(act=lambda: exited(1))
    if target == "die":
        return Simulation(act=lambda: killed(payload["signal"]))
    if target == "sleep_politely":
        Path(payload["ready"]).touch()
        return Simulation(seconds=seconds, act=lambda: exited(0), on_cancel=lambda: exited(75))
    return Simulation(seconds=seconds, act=lambda: exited(0))


@pytest.fixture(params=["fake", "local", "cluster"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Launcher]:
    """Two jobs side by side, one GPU."""
    made: Launcher
    if request.param == "fake":
        made = FakeLauncher(simulate, capacity=2, gpus=1)
    elif request.param == "local":
        made = LocalLauncher(modules=["launcher_targets"], capacity=2, gpus=["0"], log=tmp_path / "server.log")
    else:
        request.getfixturevalue("on_nodes")
        made = ClusterLauncher(
            Site(profile=Profile(max_jobs=2, poll_seconds=0.2), title="contract"),
            folder=tmp_path / "cluster",
            slurm=Slurm({"SLURM_CONF": str(request.getfixturevalue("slurm_conf"))}),
        )
    yield made
    made.close()


@pytest.fixture
def moment(launcher: Launcher) -> float:
    """Seconds that a job can take and be seen to run."""
    return 1.0 if isinstance(launcher, ClusterLauncher) else 0.05


@pytest.fixture
def job(tmp_path: Path):  # type: ignore[no-untyped-def]
    def make(name: str, target: str = "succeed", *, gpus: int = 0, **payload: object) -> Job:
        return Job(
            name=name,
            target=f"launcher_targets:{target}",
            payload=payload,
            log=tmp_path / f"{name}.log",
            resources=Resources(gpus=gpus),
        )

    return make


def finish(launcher: Launcher, *names: str) -> dict[str, JobStatus]:
    """Wait until the named jobs (all, if none is named) have ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        statuses = launcher.jobs()
        if all(statuses[name].state.ended for name in names or statuses):
            return dict(statuses)
        launcher.wait(1.0)
    raise AssertionError(f"still running: {launcher.jobs()}")


def test_a_job_that_returns_has_succeeded(launcher, job):
    launcher.submit(job("a"))
    assert finish(launcher)["a"].state == JobState.SUCCEEDED
    assert launcher.jobs()["a"].exit_code == 0


@pytest.mark.parametrize("code", [1, 3, 75])
def test_exit_codes_are_reported(launcher, job, code):
    launcher.submit(job("a", "exit_with", code=code))
    status = finish(launcher)["a"]
    assert (status.state, status.exit_code, status.signal) == (JobState.FAILED, code, None)


def test_a_job_that_raises_has_failed_with_one(launcher, job):
    launcher.submit(job("a", "fail"))
    status = finish(launcher)["a"]
    assert (status.state, status.exit_code) == (JobState.FAILED, 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_job_ended_by_a_signal_is_killed(launcher, job, number):
    launcher.submit(job("a", "die", signal=int(number)))
    status = finish(launcher)["a"]
    assert (status.state, status.exit_code, status.signal) == (JobState.KILLED, None, number)


def test_no_more_jobs_run_than_fit_and_all_get_their_turn(launcher, job, moment):
    names = [f"job{i}" for i in range(5)]
    for name in names:
        launcher.submit(job(name, "sleep", seconds=moment))
    most = 0
    while not all(status.state.ended for status in launcher.jobs().values()):
        most = max(most, sum(status.state == JobState.RUNNING for status in launcher.jobs().values()))
        launcher.wait(1.0)
    assert launcher.capacity == 2
    assert most == 2 or (most == 1 and isinstance(launcher, ClusterLauncher))  # which is looked at now and then
    assert {status.state for status in launcher.jobs().values()} == {JobState.SUCCEEDED}


def test_a_failure_does_not_touch_the_others(launcher, job):
    launcher.submit(job("long", "sleep", seconds=0.3))
    launcher.submit(job("bad", "die", signal=9))
    launcher.submit(job("next"))
    statuses = finish(launcher)
    assert statuses["bad"].state == JobState.KILLED
    assert statuses["long"].state == statuses["next"].state == JobState.SUCCEEDED


def test_a_gpu_belongs_to_one_job_at_a_time(launcher, job, moment):
    for name in ("a", "b", "c"):
        launcher.submit(job(name, "sleep", gpus=1, seconds=moment))
    finish(launcher, "a")
    assert sum(status.state == JobState.RUNNING for status in launcher.jobs().values()) <= 1
    assert {status.state for status in finish(launcher).values()} == {JobState.SUCCEEDED}


def test_more_gpus_than_there_are_is_refused(launcher, job):
    """At once, or by the scheduler in its own words."""
    if isinstance(launcher, ClusterLauncher):
        launcher.submit(job("a", gpus=2))
        status = finish(launcher)["a"]
        assert status.state == JobState.FAILED
        assert "node configuration is not available" in status.problem
        return
    with pytest.raises(ValueError, match="GPUs"):
        launcher.submit(job("a", gpus=2))
    assert "a" not in launcher.jobs()


def test_a_name_can_be_used_again_only_when_forgotten(launcher, job):
    launcher.submit(job("a", "exit_with", code=4))
    with pytest.raises(ValueError, match="already submitted"):
        launcher.submit(job("a"))
    finish(launcher)
    with pytest.raises(ValueError, match="already submitted"):
        launcher.submit(job("a"))
    launcher.forget("a")
    assert "a" not in launcher.jobs()
    launcher.submit(job("a"))
    assert finish(launcher)["a"].exit_code == 0


def test_a_job_that_has_not_ended_is_not_forgotten(launcher, job):
    launcher.submit(job("a", "sleep", seconds=0.2))
    with pytest.raises(ValueError, match="not ended"):
        launcher.forget("a")


def test_cancelling_asks_first(launcher, job, tmp_path):
    ready = tmp_path / "ready"
    launcher.submit(job("a", "sleep_politely", seconds=60, ready=str(ready)))
    while not ready.exists():
        launcher.wait(0.05)
    launcher.cancel("a")
    assert finish(launcher)["a"].exit_code == 75


def test_cancelling_with_force_kills(launcher, job, tmp_path):
    ready = tmp_path / "ready"
    launcher.submit(job("a", "sleep_politely", seconds=60, ready=str(ready)))
    while not ready.exists():
        launcher.wait(0.05)
    launcher.cancel("a", kill=True)
    assert finish(launcher)["a"].signal == signal.SIGKILL


def test_a_queued_job_that_is_cancelled_never_runs(launcher, job):
    for name in ("a", "b"):
        launcher.submit(job(name, "sleep", seconds=0.2))
    launcher.submit(job("queued", "fail"))
    launcher.cancel("queued")
    assert launcher.jobs()["queued"].state == JobState.CANCELLED
    finish(launcher)
    assert launcher.jobs()["queued"].state == JobState.CANCELLED


def test_cancelling_what_has_ended_does_nothing(launcher, job):
    launcher.submit(job("a"))
    before = finish(launcher)["a"]
    launcher.cancel("a")
    launcher.cancel("a", kill=True)
    launcher.wait(0.05)
    assert launcher.jobs()["a"] == before


def test_a_new_launcher_has_no_jobs(launcher):
    assert launcher.inherited() == launcher.jobs() == {}


def test_waiting_ends_when_a_job_does(launcher, job):
    launcher.submit(job("a", "sleep", seconds=0.2))
    started = time.monotonic()
    finish(launcher)
    assert time.monotonic() - started < 30  # not at the end of a wait of a minute
    launcher.wait(0.0)  # takes note of the end
    launcher.wait(0.01)  # nothing happens, and it returns
