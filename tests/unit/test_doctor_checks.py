"""What is made of a profile, of a node's facts, and of a job that left none."""

from dataclasses import replace
from typing import Any

import pytest

from ablations.doctor_checks import (
    Check,
    check_gpus,
    check_partition,
    check_time,
    longest_run,
    out_of_service,
    wanted_partitions,
)
from ablations.doctor_job import Visit, prepared
from ablations.node_checks import Here, check_node, explain_silence
from ablations.node_facts import Facts, run
from slurm.batch import Word
from slurm.partition import Node, Partition
from slurm.profile import Profile
from slurm.queue import Seen

CPU = Partition(name="cpu", default=True, state="UP", longest=None)
GPU = Partition(name="gpu", default=False, state="UP", longest=4 * 3600)
CLOSED = Partition(name="old", default=False, state="DOWN", longest=60)
NODES = [Node(name="n1", state="idle", gpus={"a100": 4}), Node(name="n2", state="drained", gpus={"v100": 8})]


@pytest.mark.parametrize(
    ("partition", "state", "says"),
    [
        (None, "ok", "cpu is UP (the default one)"),
        ("gpu", "ok", "gpu is UP"),
        ("gpu,old", "ok", "gpu is UP, old is DOWN"),
        ("gpv", "failed", "gpv does not exist; there are cpu, gpu, old"),
        ("gpu,x", "failed", "x does not exist"),
        ("old", "failed", "old is DOWN"),
    ],
)
def test_partitions(partition, state, says):
    check = check_partition(Profile(partition=partition), [CPU, GPU, CLOSED])
    assert (check.state, says in check.text) == (state, True), check
    assert bool(check.advice) == check.failed


def test_the_nearest_partition_is_advised_and_one_must_be_named_where_there_is_no_default():
    assert check_partition(Profile(partition="gpv"), [CPU, GPU]).advice == "write partition: gpu"
    assert check_partition(Profile(), [GPU, CLOSED]).advice == "set partition to one of gpu, old"


@pytest.mark.parametrize(
    ("time", "partition", "state"),
    [
        ("4:00:00", "gpu", "ok"),
        ("4:00:01", "gpu", "failed"),
        ("1-00:00:00", "gpu", "failed"),
        ("1-00:00:00", "gpu,cpu", "ok"),
        ("1-00:00:00", None, "ok"),
        (None, "gpu", "ok"),
    ],
)
def test_time_fits_the_partition(time, partition, state):
    profile = Profile(time=time, partition=partition)
    assert check_time(profile, wanted_partitions(profile, [CPU, GPU])).state == state


@pytest.mark.parametrize(
    ("kind", "count", "state", "says"),
    [
        (None, 0, "ok", "none asked for"),
        (None, 8, "ok", "up to 8"),
        (None, 9, "failed", "no node of the partition has more than 8"),
        ("a100", 4, "ok", "up to 4 a100"),
        ("a100", 5, "failed", "more than 4"),
        ("A100", 1, "failed", "there are a100, v100"),
    ],
)
def test_gpus_that_some_node_has(kind, count, state, says):
    check = check_gpus(Profile(gpu_type=kind), count, NODES)
    assert (check.state, says in check.text) == (state, True), check


def test_the_nearest_gpu_type_is_advised():
    assert check_gpus(Profile(gpu_type="a10"), 1, NODES).advice == "write gpu_type: a100"
    assert check_gpus(Profile(gpu_type="a100"), 1, []).text.endswith("there are no GPUs")
    assert out_of_service(NODES) == "n2 drained"


def test_the_doctors_job_asks_for_no_more_than_a_partition_gives(tmp_path):
    assert (longest_run([GPU]), longest_run([GPU, CLOSED]), longest_run([CPU, GPU])) == (14400, 14400, None)
    for longest, time in ((60, "0:01:00"), (14400, "0:05:00"), (None, "0:05:00")):
        with prepared(tmp_path, 0, longest=longest) as batch:
            assert batch.jobs[0].resources.time == time


def test_of_several_processes_of_a_job_the_first_says_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run({"folder": str(tmp_path)})
    assert not list(tmp_path.iterdir())


HERE = Here(token="t", packages={"torch": "2.11"}, source="s", place="/here")
FACTS = Facts(
    node="n1", began=100.0, written=103.0, token="t", python="3.11.2", packages={"torch": "2.11"}, broken={},
    source="s", place="/there", gpus=("0",), torch_gpus=1, slurm="", free_bytes=2**40, scratch="",
)  # fmt: skip


def judge(facts: Facts = FACTS, **options: Any) -> dict[str, Check]:
    settings = {"gpus": 1, "pretended": False, "queued_at": 99.0, "read_at": 104.0, **options}
    return {check.name: check for check in check_node(facts, HERE, **settings)}


def test_a_good_node():
    assert {check.state for check in judge().values()} == {"ok"}
    assert {check.state for check in judge(replace(FACTS, gpus=(), torch_gpus=0), gpus=0).values()} == {"ok"}


@pytest.mark.parametrize(
    ("change", "name", "state", "says"),
    [
        ({"token": "other"}, "node: store", "failed", "does not see"),
        ({"broken": {"torch": "ImportError: x"}}, "node: packages", "failed", "ImportError: x"),
        ({"packages": {"torch": "2.12"}}, "node: packages", "warning", "torch 2.12, here 2.11"),
        ({"source": "other"}, "node: program", "failed", "/there"),
        ({"gpus": ()}, "node: GPUs", "failed", "SLURM gave 0"),
        ({"torch_gpus": 0}, "node: torch", "failed", "sees 0 of 1"),
        ({"slurm": "sbatch: No such file"}, "node: SLURM", "warning", "No such file"),
        ({"free_bytes": 2**20}, "node: disk", "warning", "0.0 GiB"),
        ({"scratch": "read-only"}, "node: /tmp", "failed", "read-only"),
        ({"began": 200.0, "written": 203.0}, "node: clock", "warning", "at least 99 s ahead"),
        ({"began": 50.0, "written": 53.0}, "node: clock", "warning", "at least 49 s behind"),
        ({"began": 97.0, "written": 107.0}, "node: clock", "ok", "at most"),
    ],
)
def test_each_fault_of_a_node_is_one_check(change, name, state, says):
    checks = judge(replace(FACTS, **change))
    assert (checks[name].state, says in checks[name].text) == (state, True), checks[name]
    assert bool(checks[name].advice) == (state != "ok")
    assert {check.name for check in checks.values() if check.state != "ok"} == ({name} if state != "ok" else set())


def test_pretended_gpus_are_not_looked_for_in_torch():
    assert judge(replace(FACTS, torch_gpus=0), pretended=True)["node: torch"].state == "not checked"


ENDED = Word(restart=0, exit_code=1)


@pytest.mark.parametrize(
    ("state", "word", "log", "name", "says"),
    [
        ("TIMEOUT", ENDED, "", "job", "TIMEOUT"),
        ("FAILED", None, "", "node: store", "JobLaunchFailure"),
        ("FAILED", ENDED, "line 9: python: command not found", "node: Python", "command not found"),
        ("FAILED", ENDED, "doctor: Python 3.9.2 True\nImportError", "node: Python", "3.9.2 is older"),
        ("COMPLETED", ENDED, "doctor: Python 3.11.2 False\nit is gone", "node: store", "does not see"),
        (
            "FAILED",
            ENDED,
            "doctor: Python 3.11.2 True\nNo module named slurm",
            "node: program",
            "No module named slurm",
        ),
        (None, ENDED, "doctor: Python 3.12.0 True\n", "node: program", "no result that can be read"),
    ],
)
def test_a_job_that_left_no_facts_is_explained_by_how_far_it_came(state, word, log, name, says):
    seen = None if state is None else Seen(state=state, reason="JobLaunchFailure")
    *before, last = explain_silence(Visit(seen=seen, word=word, facts=None, log=log, queued_at=0.0, read_at=0.0))
    assert (last.name, last.state, says in last.text) == (name, "failed", True), last
    assert all(check.state == "ok" for check in before)
