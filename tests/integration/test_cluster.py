"""Sweeps on a real SLURM: what the cluster does to jobs, and who is killed, changes no record."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tally import drill

from ablations.errors import OK, STOPPED, BadInput
from ablations.profile_file import find_cluster
from slurm import devcluster
from slurm.cluster import ClusterLauncher
from slurm.commands import Slurm
from slurm.devcluster_config import Shape
from slurm.launcher import Job, JobState, Resources
from slurm.profile import Profile
from slurm.script import Afterwards, Site

TESTS = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds until a wait is given up, on a machine that is very busy."""
SLOW = {"arms": 2, "seeds": 1, "steps": 30, "step_seconds": 0.1}
"""A sweep whose jobs take a few seconds, so that they can be disturbed. Two jobs of shared stages, two of trials."""

pytestmark = pytest.mark.usefixtures("on_nodes")


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    return found


@pytest.fixture
def slurm(slurm_conf: Path) -> Slurm:
    return Slurm({"SLURM_CONF": str(slurm_conf)})


@pytest.fixture
def begin(slurm_conf: Path) -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Starts the drill's dispatcher on the cluster; none outlives the test."""
    started = []

    def begin_one(store: Path) -> subprocess.Popen[str]:
        options = json.dumps({**SLOW, "slurm_conf": str(slurm_conf)})
        command = [sys.executable, str(TESTS / "drill_run.py"), str(store), "drill", options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin_one
    for process in started:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> int:
    _, messages = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in messages, messages
    return process.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The records of the drill on this machine."""
    store = tmp_path_factory.mktemp("undisturbed")
    settings = {**SLOW, "step_seconds": 0.0}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, str(TESTS / "drill_run.py"), str(store), "drill", json.dumps(settings)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return records(store)


def records(store: Path) -> dict[str, Any]:
    """Every record but for its provenance, and what was trained."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("record.json")):
        record = json.loads(path.read_text())
        found[str(path.relative_to(store))] = {
            name: value for name, value in record.items() if name not in ("provenance", "seconds")
        }
    for path in sorted(store.glob("*/*/work/*")):
        if path.name == "digest" or path.suffix in (".safetensors", ".npz", ".npy"):
            found[str(path.relative_to(store))] = path.read_bytes()
    return found


def steps_done(store: Path) -> int:
    """Steps of all stages together, repeated ones included."""
    return sum(len(path.read_text().splitlines()) for path in store.glob("*/*/work/spool.jsonl"))


STEPS = sum(stage.config.steps for stage in drill(**SLOW).stages().values())


def ours(slurm: Slurm, *options: str) -> set[str]:
    """Ids of the drill's jobs in the queue."""
    answer = slurm.ask("squeue", "--me", "--noheader", "--array", "--name=drill", "--Format=JobArrayID:|", *options)
    return {line.strip("| ") for line in answer.text.splitlines()}


def training(store: Path) -> list[Path]:
    """Trials that have trained for some steps and not all."""
    spools = [path for path in store.glob("training/*/work/spool.jsonl") if len(path.read_text().splitlines()) > 3]
    return [path for path in spools if not (path.parents[1] / "record.json").exists()]


def test_jobs_that_are_queued_again_or_cancelled_by_somebody_end_in_the_same_records(
    tmp_path, begin, slurm, undisturbed
):
    process = begin(tmp_path)
    until(lambda: len(training(tmp_path)) == 2)
    first, second = sorted(ours(slurm, "--states=running"))
    assert slurm.ask("scontrol", "requeue", first).ok
    assert slurm.ask("scancel", second).ok
    assert finish(process) == OK
    assert records(tmp_path) == undisturbed
    assert steps_done(tmp_path) == STEPS  # both saved their state when they were told to stop
    assert not (tmp_path / "sweeps" / "drill" / "cluster").exists()
    logs = list((tmp_path / "sweeps" / "drill" / "trials").rglob("attempt-*.log"))
    assert len(logs) == 3  # to be queued again is no new attempt
    assert sum("process" in line for log in logs for line in log.read_text().splitlines()) == 4


def test_a_killed_dispatcher_is_followed_by_one_that_goes_on_with_its_jobs(tmp_path, begin, slurm, undisturbed):
    before = ours(slurm, "--states=all")
    process = begin(tmp_path)
    until(lambda: training(tmp_path))
    process.kill()
    process.wait()
    assert ours(slurm)
    assert finish(begin(tmp_path)) == OK
    assert records(tmp_path) == undisturbed
    assert steps_done(tmp_path) == STEPS
    assert len(ours(slurm, "--states=all") - before) == 4  # one job each: nothing was sent twice
    assert not list(tmp_path.rglob("attempt-2.log"))


def test_ctrl_c_saves_what_runs_and_the_same_command_goes_on(tmp_path, begin, slurm, undisturbed):
    process = begin(tmp_path)
    until(lambda: training(tmp_path))
    process.send_signal(signal.SIGINT)
    assert finish(process) == STOPPED
    assert not ours(slurm)
    assert steps_done(tmp_path) < STEPS
    assert finish(begin(tmp_path)) == OK
    assert records(tmp_path) == undisturbed
    assert steps_done(tmp_path) == STEPS


SWEEP = """
name: small
set:
  data.world.train_scenes: 60
  data.world.evaluation_scenes: 20
  encoder.objective: none
  training.steps: 4
  evaluation.items: 4
  evaluation.tasks: [colour]
  evaluation.shots: [0]
axes: {connector.num_tokens: [4, 9]}
design: grid
objective: {metric: eval/zero_shot}
resources: {memory: 1.5G, time: "0:30:00"}
"""


def test_a_sweep_file_gives_the_records_it_gives_here(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SWEEP)
    for place in ("here", "cluster"):
        options = ["--profile", "devcluster"] if place == "cluster" else []
        command = [sys.executable, "-m", "ablations", "run", str(file), "--store", str(tmp_path / place), *options]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent)
        assert ended.returncode == OK, ended.stderr
    assert records(tmp_path / "cluster") == records(tmp_path / "here")
    assert len([name for name in records(tmp_path / "here") if "/trials/" in name]) == 2


@pytest.fixture
def launcher(tmp_path: Path, slurm: Slurm) -> Iterator[ClusterLauncher]:
    made = ClusterLauncher(
        Site(profile=Profile(poll_seconds=0.2, flags={"hold": True}), title="a sweep"),
        folder=tmp_path / "cluster",
        slurm=slurm,
    )
    yield made
    made.close()


def job(folder: Path, name: str, **resources: Any) -> Job:
    log = folder / f"{name}.log"
    return Job(name=name, target="launcher_targets:succeed", payload={}, log=log, resources=Resources(**resources))


def test_what_is_submitted_together_becomes_arrays_with_names_one_can_read(tmp_path, launcher, slurm):
    for number in range(12):
        launcher.submit(job(tmp_path, f"small-{number}"))
    launcher.submit(job(tmp_path, "large", cpus=3, gpus=1, memory="1.5G", time="0:20:00"))
    assert {status.state for status in launcher.jobs().values()} == {JobState.QUEUED}
    answer = slurm.ask("squeue", "--me", "--noheader", "--name=a sweep", "-o", "%K|%k|%C|%b|%m|%l")
    rows = sorted(line.split("|") for line in answer.text.splitlines())
    assert [row[0] for row in rows] == ["0-1%2", "0-9%10", "N/A"]  # the cluster's arrays end at 9
    assert rows[1][1].endswith(": small-0, small-1, small-2 and 7 more")
    assert rows[2][1].endswith(": large")
    assert rows[2][2:] == ["3", "gres:gpu:1", "1.50G", "20:00"]


def test_a_job_that_slurm_ends_for_its_memory_is_known_as_such_before_slurm_says_so(tmp_path, monkeypatch):
    """On a cluster of its own that measures what jobs take; those of the tests do not. The job's script still has its
    last act to do when it is judged."""
    folder = tmp_path / "devcluster"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
    conf = devcluster.up(folder, Shape(nodes=1)).slurm_conf
    try:
        measured = "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=task=1\n"
        measured += "JobAcctGatherParams=OverMemoryKill"
        conf.write_text(conf.read_text().replace("JobAcctGatherType=jobacct_gather/none", measured))
        for daemon in devcluster.status(folder).daemons:
            if daemon.name.startswith("slurm") and daemon.pid is not None:
                os.kill(daemon.pid, signal.SIGKILL)  # they read this setting when they start, and no later
        devcluster.up(folder)
        site = Site(
            profile=Profile(poll_seconds=0.2),
            title="large",
            afterwards=Afterwards(arguments=("-c", "import time; time.sleep(600)"), log=tmp_path / "afterwards.log"),
        )
        made = ClusterLauncher(site, folder=tmp_path / "cluster", slurm=Slurm({"SLURM_CONF": str(conf)}))
        small = Job(
            name="a",
            target="launcher_targets:fill_memory",
            payload={"bytes": 600 * 2**20},
            log=tmp_path / "a.log",
            resources=Resources(memory="200M"),
        )
        made.submit(small)
        until(lambda: made.wait(0.2) or made.jobs()["a"].state.ended)
        status = made.jobs()["a"]
        assert (status.state, status.signal, status.out_of_memory) == (JobState.KILLED, signal.SIGKILL, True)
    finally:
        devcluster.down(folder)


def test_another_launcher_on_the_folder_inherits_what_waits_and_can_end_it(tmp_path, launcher, slurm):
    for name in ("a", "b"):
        launcher.submit(job(tmp_path, name))
    launcher.submit(job(tmp_path, "c", cpus=2))
    launcher.jobs()
    (unknown,) = [path for path in (tmp_path / "cluster").glob("*/id") if (path.parent / "size").read_text() == "1"]
    unknown.unlink()  # as if its submitter had been killed just before it noted the number
    assert slurm.ask("scancel", f"{(tmp_path / 'cluster').glob('*/id').__next__().read_text()}_1").ok
    site = Site(profile=Profile(poll_seconds=0.2), title="x")
    heir = ClusterLauncher(site, folder=tmp_path / "cluster", slurm=slurm)
    assert heir.inherited().keys() == heir.jobs().keys() == {"a", "b", "c"}
    until(lambda: heir.jobs()["b"].state.ended)
    assert {heir.jobs()[name].state for name in ("a", "c")} == {JobState.QUEUED}
    assert heir.inherited()["c"] == job(tmp_path, "c", cpus=2)
    for name in ("a", "c"):
        heir.cancel(name)
    until(lambda: all(heir.jobs()[name].state == JobState.CANCELLED for name in ("a", "c")))
    heir.close()


FULL = """#!/bin/sh
if grep -q -e --array "$1" || [ "$(squeue --me --noheader | wc -l)" -ge 2 ]; then
  echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2
  echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)" >&2
  exit 1
fi
exec {sbatch} "$@"
"""


def test_a_limit_on_jobs_makes_the_rest_wait(tmp_path, slurm, monkeypatch):
    """The limit is a script before the real sbatch: a cluster without accounting has none of its own."""
    script = tmp_path / "bin" / "sbatch"
    script.parent.mkdir()
    where = subprocess.run(["which", "sbatch"], capture_output=True, text=True, check=True).stdout.strip()
    script.write_text(FULL.replace("{sbatch}", where))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    site = Site(profile=Profile(poll_seconds=0.2), title="limited")
    launcher = ClusterLauncher(site, folder=tmp_path / "cluster", slurm=slurm)
    names = [f"job{number}" for number in range(4)]
    for name in names:
        launcher.submit(job(tmp_path, name))
    until(lambda: (launcher.wait(0.5), all(one.state.ended for one in launcher.jobs().values()))[1])
    assert {status.state for status in launcher.jobs().values()} == {JobState.SUCCEEDED}
    launcher.close()


def test_a_development_cluster_elsewhere_is_the_one_that_slurm_conf_names(slurm_conf, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(slurm_conf))
    assert find_cluster("devcluster").environment == {"SLURM_CONF": str(slurm_conf)}
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
    with pytest.raises(BadInput, match=str(tmp_path)):
        find_cluster("devcluster")
