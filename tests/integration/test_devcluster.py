"""A real SLURM on this machine: jobs run as on a cluster, whatever dies is seen and started again, nothing is left."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm import devcluster
from slurm.devcluster_config import DevclusterError, DevclusterRefused, Shape
from slurm.devcluster_daemons import require_packages
from slurm.devcluster_folder import load, root
from slurm.devcluster_processes import find

PATIENCE = 60.0
"""Seconds until a wait is given up, on a machine that is very busy."""


def skip_without_packages(*, accounting: bool) -> None:
    try:
        require_packages(accounting=accounting)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))


def wait_for(what: Callable[[], bool], *, say: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, say()
        time.sleep(0.1)


def call(folder: Path, *command: str) -> str:
    """What one of SLURM's commands prints on the cluster in ``folder``."""
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 0, f"{command}: {ended.stderr}"
    return ended.stdout


def submit(folder: Path, script: str, *options: str) -> str:
    output = folder.parent / "%j.out"
    if any(option.startswith("--array") for option in options):
        output = folder.parent / "%A_%a.out"
    return call(
        folder, "sbatch", "--parsable", f"--output={output}", "--open-mode=append", *options, "--wrap", script
    ).strip()


def submit_and_save(folder: Path, script: str) -> str:
    """A held job that the controller has written down, which it does some seconds after it takes a job."""
    job = submit(folder, script, "--hold", "--job-name=written-down")
    queue = folder / "run" / "state" / "job_state"
    wait_for(lambda: queue.exists() and b"written-down" in queue.read_bytes())
    return job


def said(folder: Path, job: str) -> str:
    file = folder.parent / f"{job}.out"
    return file.read_text() if file.exists() else ""


def state(folder: Path, job: str) -> str:
    words = call(folder, "scontrol", "show", "job", job).split()
    return next(word.partition("=")[2] for word in words if word.startswith("JobState="))


def finish(folder: Path, job: str) -> str:
    wait_for(lambda: state(folder, job) == "COMPLETED", say=lambda: call(folder, "scontrol", "show", "job", job))
    return said(folder, job)


def kill(folder: Path, daemon: str) -> None:
    pid = next(found.pid for found in devcluster.status(folder).daemons if found.name == daemon)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: daemon in dead(folder))


def dead(folder: Path) -> set[str]:
    return {daemon.name for daemon in devcluster.status(folder).daemons if daemon.pid is None}


def is_bound(one: socket.socket, port: int) -> bool:
    try:
        one.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def left(folder: Path) -> list[object]:
    return list(find(root(folder) / "slurm.conf"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster that the tests share, in a folder whose path has spaces and is longer than a socket's may be."""
    skip_without_packages(accounting=False)
    place = tmp_path_factory.mktemp("a cluster") / ("a long name " * 8).strip()
    devcluster.up(place)
    yield place
    devcluster.down(place)
    assert not left(place)


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Path]:
    """A folder for a cluster of the test's own."""
    skip_without_packages(accounting=False)
    yield tmp_path / "another"
    devcluster.down(tmp_path / "another")


def test_up_means_idle_nodes_on_the_loopback_interface(folder):
    assert devcluster.status(folder).up
    assert call(folder, "sinfo", "-h", "-N", "-p", "low", "-o", "%N %t %c %G").splitlines() == [
        "n1 idle 4 gpu:4",
        "n2 idle 4 gpu:4",
    ]
    assert call(folder, "sinfo", "-h", "-o", "%P %p").split() == ["low*", "1", "lowg", "1", "high", "10"]
    cluster = load(folder)
    assert cluster is not None
    ports = {cluster.ports.controller, *cluster.ports.nodes}
    assert {address for address, port in listening() if port in ports} == {"127.0.0.1"}


def listening() -> set[tuple[str, int]]:
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        address, _, port = line.split()[1].partition(":")
        if line.split()[3] == "0A":
            found.add((".".join(str(byte) for byte in reversed(bytes.fromhex(address))), int(port, 16)))
    return found


def test_a_job_runs_and_sees_the_gpus_it_asked_for(folder):
    job = submit(folder, "echo gpus=$CUDA_VISIBLE_DEVICES restarts=${SLURM_RESTART_COUNT-none}", "--gpus=2")
    assert finish(folder, job) == "gpus=0,1 restarts=none\n"


def test_srun_reaches_both_nodes(folder):
    job = submit(folder, "srun sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID'", "--nodes=2", "--ntasks-per-node=1")
    assert sorted(finish(folder, job).splitlines()) == ["n1 0", "n2 1"]


def test_an_array_is_as_long_as_allowed_and_no_longer(folder):
    job = submit(folder, "echo task $SLURM_ARRAY_TASK_ID", "--array=0,3,9")
    wait_for(lambda: all(said(folder, f"{job}_{index}") == f"task {index}\n" for index in (0, 3, 9)))
    with pytest.raises(AssertionError, match="array"):
        submit(folder, "true", "--array=0-10")


def test_jobs_that_are_queued_again_soon_go_on(folder):
    """The one that a job of ``high`` displaced, and the one that asked for it."""
    attempt = "echo attempt ${SLURM_RESTART_COUNT-0}; "
    asks = submit(folder, attempt + '[ -n "$SLURM_RESTART_COUNT" ] || exit 75', "--nodelist=n2")
    low = submit(folder, attempt + '[ -n "$SLURM_RESTART_COUNT" ] || sleep 600', "--nodelist=n1", "--exclusive")
    wait_for(lambda: "attempt 0" in said(folder, low))
    high = submit(folder, "echo mine", "--nodelist=n1", "--exclusive", "--partition=high")
    assert finish(folder, high) == "mine\n"
    assert finish(folder, low).splitlines()[-1] == "attempt 1"
    assert "PREEMPTION" in said(folder, low)
    assert finish(folder, asks).splitlines() == ["attempt 0", "attempt 1"]


def test_a_killed_node_is_seen_and_started_again_and_its_job_goes_on(folder):
    job = submit(
        folder,
        "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo done",
        f"--chdir={folder.parent}",
        "--nodelist=n1",
    )
    wait_for(lambda: said(folder, job) == "begun\n")
    kill(folder, "slurmd-n1")
    assert not devcluster.status(folder).up
    before = {daemon.name: daemon.pid for daemon in devcluster.status(folder).daemons}
    assert devcluster.up(folder).up
    after = {daemon.name: daemon.pid for daemon in devcluster.status(folder).daemons}
    assert {name for name in after if after[name] != before[name]} == {"slurmd-n1"}
    (folder.parent / "go").touch()
    assert finish(folder, job) == "begun\ndone\n"


def test_a_killed_controller_comes_back_with_its_queue(folder):
    job = submit_and_save(folder, "echo ran")
    kill(folder, "slurmctld")
    assert devcluster.status(folder).jobs is None
    assert devcluster.up(folder).jobs == {"pending": 1}
    call(folder, "scontrol", "release", job)
    assert finish(folder, job) == "ran\n"


def test_up_again_changes_nothing_and_another_shape_is_refused(folder):
    before = devcluster.status(folder).daemons
    assert devcluster.up(folder).daemons == before
    with pytest.raises(DevclusterRefused, match="take it down first"):
        devcluster.up(folder, Shape(nodes=3))
    assert devcluster.status(folder).daemons == before


def test_two_clusters_side_by_side_and_down_leaves_nothing_of_one(folder, another, monkeypatch):
    monkeypatch.setattr(devcluster, "_JOB_PATIENCE", 0.5)
    before = devcluster.status(folder).daemons
    devcluster.up(another, Shape(nodes=1, gpus=1))
    script = "trap '' TERM; setsid sleep 600 & env -i sleep 600 & echo begun; wait"
    job = submit(another, script)
    wait_for(lambda: said(another, job) == "begun\n")
    assert devcluster.down(another)
    assert not left(another)
    assert not devcluster.down(another)
    assert devcluster.status(another).shape is None
    assert (another / "logs" / "slurmctld.log").exists()
    assert devcluster.status(folder).daemons == before
    devcluster.up(another, Shape(nodes=1, gpus=1))
    assert int(submit(another, "true")) > int(job)  # an id never means two jobs
    assert devcluster.status(another).up


def test_a_killed_up_is_taken_up_again(another):
    code = "import sys; from pathlib import Path; from slurm import devcluster; devcluster.up(Path(sys.argv[1]))"
    for daemon in ("munged", "slurmctld", "slurmd-n1"):
        starting = subprocess.Popen([sys.executable, "-c", code, str(another)])
        wait_for(lambda: daemon in {process.daemon for process in left(another)} or starting.poll() is not None)  # noqa: B023
        starting.kill()
        starting.wait()
        assert devcluster.up(another).up
        names = [process.daemon for process in left(another) if process.daemon]
        assert sorted(names) == ["munged", "slurmctld", "slurmd-n1", "slurmd-n2"]
        devcluster.down(another)
        assert not left(another)


def test_everything_killed_at_once_comes_back(another):
    devcluster.up(another, Shape(nodes=1))
    job = submit_and_save(another, "true")
    for process in left(another):
        os.kill(process.pid, signal.SIGKILL)
    root(another).unlink()  # as after a restart of the machine
    wait_for(lambda: len(dead(another)) == 3)
    assert devcluster.up(another).up
    assert state(another, job) == "PENDING"


def test_a_taken_port_is_named_and_down_and_up_find_others(another):
    devcluster.up(another, Shape(nodes=1))
    kill(another, "slurmctld")
    cluster = load(another)
    assert cluster is not None
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_for(lambda: is_bound(other, cluster.ports.controller))  # the killed one's helper lets go last
        other.listen()
        with pytest.raises(DevclusterError, match=str(cluster.ports.controller)):
            devcluster.up(another)
        assert dead(another) == {"slurmctld"}
        devcluster.down(another)
        assert devcluster.up(another).up


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    skip_without_packages(accounting=False)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").touch()
    with pytest.raises(DevclusterRefused, match="other files"):
        devcluster.up(tmp_path)
    assert not devcluster.down(tmp_path)
    assert (tmp_path / "run" / "mine").exists()


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(DevclusterRefused, match=r"apt-get install .*munge slurm-wlm"):
        devcluster.up(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_says_how_to_use_it(another):
    def ablate(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ablations", "devcluster", *arguments, "--folder", str(another)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    assert ablate("status").returncode == 4
    brought_up = ablate("up", "--nodes", "1")
    assert brought_up.returncode == 0, brought_up.stderr
    export = brought_up.stdout.splitlines()[-1]
    asked = subprocess.run(["sh", "-c", f"{export}; sinfo -h -o %N"], capture_output=True, text=True)
    assert set(asked.stdout.split()) == {"n1"}
    assert ablate("status").stdout == brought_up.stdout
    kill(another, "slurmd-n1")
    assert ablate("status").returncode == 4
    refused = ablate("up", "--nodes", "2")
    assert refused.returncode == 2
    assert "take it down" in refused.stderr
    assert ablate("down").returncode == 0
    assert not left(another)


def test_with_accounting_sacct_answers(tmp_path):
    skip_without_packages(accounting=True)
    folder = tmp_path / "with accounting"
    try:
        assert devcluster.up(folder, Shape(nodes=1, accounting=True)).up
        job = submit(folder, "true", "--gpus=1")
        finish(folder, job)
        columns = ("sacct", "-X", "-n", "-P", "-j", job, "-o", "state,alloctres")
        wait_for(lambda: call(folder, *columns).startswith("COMPLETED|"), say=lambda: call(folder, *columns))
        assert "gres/gpu=1" in call(folder, *columns)
        for daemon in ("slurmdbd", "mariadbd"):
            kill(folder, daemon)
        assert devcluster.up(folder).up
        assert call(folder, *columns).startswith("COMPLETED|")
    finally:
        devcluster.down(folder)
    assert not left(folder)
