"""Profiles that work and profiles that do not, on a real SLURM: one clear failure each, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablations.doctor import NAMES
from ablations.errors import BAD_INPUT, OK, STOPPED, STORE_UNUSABLE
from slurm import devcluster
from slurm.commands import Slurm
from slurm.devcluster_config import DevclusterRefused, Shape
from slurm.devcluster_daemons import require_packages

TESTS = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds until a wait is given up, on a machine that is very busy."""
BEFORE_THE_JOB = NAMES[: NAMES.index("job")]

pytestmark = pytest.mark.usefixtures("on_nodes")


@pytest.fixture
def slurm(slurm_conf: Path) -> Slurm:
    return Slurm({"SLURM_CONF": str(slurm_conf)})


def doctors(slurm: Slurm, *options: str) -> list[str]:
    """Jobs of the command in the queue, by name."""
    answer = slurm.ask("squeue", "--me", "--noheader", "--format=%j", *options)
    return [name for name in answer.text.split() if name.startswith("ablate-doctor")]


class Ended:
    def __init__(self, code: int, output: str, messages: str) -> None:
        assert "Traceback" not in messages, messages
        self.code = code
        self.messages = messages
        document = json.loads(output)
        self.checks: dict[str, dict[str, Any]] = {check["name"]: check for check in document["checks"]}
        assert tuple(self.checks) == NAMES
        assert document["ok"] == (code == OK)

    def named(self, state: str) -> list[str]:
        return [name for name, check in self.checks.items() if check["state"] == state]

    def failure(self) -> tuple[str, str]:
        """The one check that failed, and what it says."""
        (name,) = self.named("failed")
        assert self.checks[name]["advice"]
        return name, self.checks[name]["text"]


@pytest.fixture
def examine(tmp_path: Path, slurm_conf: Path) -> Callable[..., Ended]:
    """Calls the command on a profile of this text. SLURM's commands find the cluster by the environment, as on a login
    node."""

    def call(profile: str, *options: str, conf: Path = slurm_conf, store: Path = tmp_path / "store") -> Ended:
        command = begin(tmp_path, profile, *options, conf=conf, store=store)
        output, messages = command.communicate(timeout=PATIENCE)
        assert not (store / "doctor").exists()
        return Ended(command.returncode, output, messages)

    return call


def begin(folder: Path, profile: str, *options: str, conf: Path, store: Path) -> subprocess.Popen[str]:
    file = folder / "profile.yaml"
    file.write_text("poll_seconds: 1\n" + profile)
    name = "devcluster" if profile == "" else str(file)
    words = [sys.executable, "-m", "ablations", "doctor", "--profile", name, "--store", str(store), "--json", *options]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )


def test_a_profile_that_works(examine, slurm):
    ended = examine("", "--gpus", "1")
    assert ended.code == OK
    assert ended.named("not checked") == ["node: torch"]  # the development cluster's GPUs are names
    assert len(ended.named("ok")) == len(NAMES) - 1
    assert "runs" in ended.messages
    assert ended.checks["node: GPUs"]["text"] == "SLURM gave 1: 0"
    assert not doctors(slurm)


@pytest.mark.parametrize(
    ("profile", "options", "name", "says"),
    [
        ("partition: lwo", (), "partition", "lwo does not exist; there are low, lowg, high"),
        ("", ("--gpus", "2"), "GPUs", "no node of the partition has more than 1"),
        ("gpu_type: a100", (), "GPUs", "no node of the partition has a100 GPUs; there are GPUs without a type"),
        ("flags: {constraint: skylake}", (), "sbatch", "Invalid feature specification"),
        ("flags: {mem: 900G}", (), "sbatch", "Requested node configuration is not available"),
    ],
)
def test_what_slurm_would_not_take_is_told_before_a_job_is_sent(examine, slurm, profile, options, name, says):
    before = doctors(slurm, "--states=all")
    ended = examine(profile, *options)
    assert ended.code == BAD_INPUT
    assert ended.failure()[0] == name
    assert says in ended.failure()[1]
    assert {one for one in NAMES if one not in BEFORE_THE_JOB} <= set(ended.named("not checked"))
    assert doctors(slurm, "--states=all") == before


def test_a_time_above_the_partitions_limit_and_a_closed_partition(examine, slurm):
    try:
        assert slurm.ask("scontrol", "update", "partition=lowg", "MaxTime=10").ok
        assert slurm.ask("scontrol", "update", "partition=high", "State=DOWN").ok
        name, text = examine('partition: lowg\ntime: "1:00:00"').failure()
        assert (name, text) == ("time", "1:00:00 is more than the partition's 0:10:00")
        assert examine("partition: high").failure() == ("partition", "high is DOWN")
        assert slurm.ask("scontrol", "update", "partition=lowg", "MaxTime=3").ok
        ended = examine("partition: lowg")  # its job asks for no more than that
        assert ended.code == OK, ended.failure()
    finally:
        slurm.ask("scontrol", "update", "partition=lowg", "MaxTime=UNLIMITED")
        slurm.ask("scontrol", "update", "partition=high", "State=UP")


def test_a_store_that_cannot_be_written_here(examine, tmp_path):
    (tmp_path / "file").touch()
    ended = examine("", store=tmp_path / "file" / "store")
    assert ended.code == STORE_UNUSABLE
    assert ended.failure()[0] == "store"


def test_a_store_that_the_node_does_not_see(examine):
    """The same path leads elsewhere there: to the folder that each process works in."""
    ended = examine("", store=Path("/proc/self/cwd/store"))
    assert ended.code == BAD_INPUT
    assert ended.failure()[0] == "node: store"
    assert "share under the same path" in ended.checks["node: store"]["advice"]


def test_a_store_that_only_the_python_of_the_profile_does_not_see(examine, tmp_path):
    """As in a container: it runs in a mount namespace in which an empty file system lies over the store."""
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a mount namespace")
    script = tmp_path / "python"
    cover = f'mount -t tmpfs none {tmp_path / "store"} && exec {sys.executable} "$@"'
    script.write_text(f"#!/bin/sh\nexec {' '.join(alone)} sh -c '{cover}' sh \"$@\"\n")
    script.chmod(0o755)
    ended = examine(f"python: {script}")
    assert ended.code == BAD_INPUT
    assert ended.failure() == ("node: store", "the Python of the profile does not see the store's folder on the node")
    assert "bind it" in ended.checks["node: store"]["advice"]


def test_a_python_that_is_not_there_and_one_without_the_program(examine, tmp_path):
    name, text = examine("python: /no/such/python").failure()
    assert name == "node: Python"
    assert "/no/such/python" in text
    name, text = examine(f"python: {sys.executable} -I -S").failure()
    assert name == "node: program"
    assert "No module named" in text


def test_another_version_of_the_program_on_the_node(examine, tmp_path):
    copy = tmp_path / "copy"
    for floor in ("ablations", "mm1core", "reports", "slurm"):
        shutil.copytree(TESTS.parent / floor, copy / floor, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "mm1core" / "config.py").open("a").write("\n")
    ended = examine(f"setup: [export PYTHONPATH={copy}]")
    assert ended.failure()[0] == "node: program"
    assert str(copy) in ended.failure()[1]


@pytest.fixture
def drained(slurm: Slurm) -> Iterator[None]:
    assert slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test").ok
    yield
    slurm.ask("scontrol", "update", "nodename=n1", "state=resume")


@pytest.mark.usefixtures("drained")
def test_a_job_that_does_not_start_is_cancelled_with_the_schedulers_reason(examine, slurm):
    ended = examine("", "--wait", "3")
    assert ended.code == STOPPED
    name, text = ended.failure()
    assert name == "job"
    assert "DRAINED" in text or "ReqNodeNotAvail" in text  # one, and after some seconds the other
    assert ended.checks["sbatch"]["state"] == "not checked"
    assert not doctors(slurm)


def test_ctrl_c_cancels_the_job(tmp_path, slurm, slurm_conf):
    command = begin(tmp_path, "flags: {hold: true}", conf=slurm_conf, store=tmp_path / "store")
    end = time.monotonic() + PATIENCE
    while not doctors(slurm):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    _, messages = command.communicate(timeout=PATIENCE)
    assert command.returncode == STOPPED
    assert "Traceback" not in messages
    assert not doctors(slurm)
    assert not (tmp_path / "store" / "doctor").exists()


def test_a_controller_that_does_not_answer(examine, tmp_path, slurm_conf):
    conf = tmp_path / "slurm.conf"
    lines = slurm_conf.read_text().splitlines()
    conf.write_text("\n".join("SlurmctldPort=9" if line.startswith("SlurmctldPort=") else line for line in lines))
    ended = examine("partition: low", conf=conf)
    assert ended.code == STOPPED
    assert ended.failure()[0] == "SLURM"


def test_an_account_without_permission(examine, tmp_path_factory):
    """On a cluster of its own, which keeps accounts and insists on them."""
    try:
        require_packages(accounting=True)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("accounts") / "cluster"
    try:
        conf = devcluster.up(folder, Shape(nodes=1, gpus=1, accounting=True)).slurm_conf
        conf.write_text(conf.read_text() + "AccountingStorageEnforce=associations,qos\n")
        controller = next(one.pid for one in devcluster.status(folder).daemons if one.name == "slurmctld")
        assert controller is not None
        os.kill(controller, signal.SIGTERM)  # it reads this setting when it starts, and no later
        end = time.monotonic() + PATIENCE
        while Path(f"/proc/{controller}").exists():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)
        devcluster.up(folder)
        ours = Slurm({"SLURM_CONF": str(conf)})
        end = time.monotonic() + PATIENCE
        while not (answer := ours.ask("sbatch", "--test-only", "--partition=low", "--wrap=true")).ok:
            assert time.monotonic() < end, answer  # the controller has not heard of our own account yet
            time.sleep(0.5)
        for profile, says in (("account: theirs", "Invalid account"), ("qos: theirs", "Invalid qos")):
            ended = examine(profile, conf=conf)
            assert ended.code == BAD_INPUT
            assert ended.failure()[0] == "sbatch"
            assert says in ended.failure()[1]
        ended = examine("partition: low", conf=conf)
        assert ended.code == OK, ended.failure()
    finally:
        devcluster.down(folder)
