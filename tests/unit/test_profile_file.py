"""Profiles of clusters: what is read, which mistakes are told and how, where one is found."""

import re
from pathlib import Path

import pytest

from ablations.errors import BAD_INPUT, BadInput, SweepError
from ablations.profile_file import find_cluster, profiles_folder, read_profile, store_of
from slurm.profile import Controller, Profile

WHOLE = """\
partition: gpu
account: vision
qos: low
gpu_type: a100
gpu_request: gres
time: "4:00:00"
setup: [module load cuda, export HF_HOME=/scratch/hf]
flags: {exclude: n3, exclusive: true, nodes: null, nice: 100}
max_jobs: 20
array_cap: 500
throttle: 8
poll_seconds: 30
python: apptainer exec image.sif python
store: /shared/store
controller: {partition: cpu, flags: {reservation: null}}
"""


@pytest.fixture(autouse=True)
def commands_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def write(folder: Path, text: str) -> Path:
    file = folder / "profile.yaml"
    file.write_text(text)
    return file


def test_every_key_is_read(tmp_path):
    assert read_profile(write(tmp_path, WHOLE)) == Profile(
        partition="gpu",
        account="vision",
        qos="low",
        gpu_type="a100",
        gpu_request="gres",
        time="4:00:00",
        setup=("module load cuda", "export HF_HOME=/scratch/hf"),
        flags={"exclude": "n3", "exclusive": True, "nodes": None, "nice": 100},
        max_jobs=20,
        array_cap=500,
        throttle=8,
        poll_seconds=30.0,
        python="apptainer exec image.sif python",
        store="/shared/store",
        controller=Controller(partition="cpu", flags={"reservation": None}),
    )
    assert set(re.findall(r"^(\w+):", WHOLE, re.MULTILINE)) == set(Profile.__dataclass_fields__)
    assert read_profile(write(tmp_path, "{}")) == Profile()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("partitions: gpu", "profile.yaml:1: partitions: is not a key of a profile; allowed: partition, .*'partition'"),
        ("qos: x\npartition: 3", "profile.yaml:2: partition: 3 is not allowed; allowed: text or null"),
        ("gpu_request: gpu-per-node", "gpu_request: .*allowed: gpus-per-node, gres; did you mean 'gpus-per-node'"),
        ("time: 4 hours", "time: .*hours:minutes:seconds"),
        ("max_jobs: 0", "max_jobs: 0 must be positive"),
        ("poll_seconds: 0.1", "poll_seconds: 0.1 must be at least 1"),
        ("flags:\n  array: 0-3", "profile.yaml:2: flags.array: is set by ablate"),
        ("flags: {comment: null}", "flags.comment: is set by ablate"),
        ("flags: {wrap: echo}", "flags.wrap: is set by ablate"),
        ("flags: {dependency: singleton}", "flags.dependency: is set by ablate"),
        ("flags: {begin: now}", "flags.begin: is set by ablate"),
        ("flags: {clusters: all}", "flags.clusters: is set by ablate"),
        (
            "controller: true",
            "controller: true is not allowed; allowed: false, or a mapping with the keys partition, qos",
        ),
        ("controller: {partitoin: x}", "controller.partitoin: is not a known key; .*did you mean 'partition'"),
        ("controller: {flags: {array: 0-1}}", "controller.flags.array: is set by ablate"),
        ("controller: {qos: ' '}", "controller.qos: .*one line"),
        ("array_cap: 0", "array_cap: 0 must be positive"),
        ("throttle: 0", "throttle: 0 must be positive"),
        ("store: ours", "store: 'ours' is not an absolute path"),
        ("flags: {--exclude: n1}", "flags.--exclude: .*without leading dashes"),
        ("flags: {partition: x}", "flags.partition: .*write partition in the profile"),
        ("flags: {gres: x}", "flags.gres: .*write gpu_type"),
        ("flags: {exclusive: false}", "flags.exclusive: .*null"),
        ("flags: {exclude: [n1]}", "flags.exclude: .*is not allowed"),
        ('account: "a\\nb"', "account: .*one line"),
        ("setup: module load cuda", "setup: .*a list, each text"),
        ("- partition", "profile.yaml:1: is not a profile; allowed: partition"),
        ("partition: [", "profile.yaml:1: malformed YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(tmp_path, text, says):
    with pytest.raises(SweepError) as caught:
        read_profile(write(tmp_path, text))
    assert re.search(says, str(caught.value)), str(caught.value)
    assert caught.value.exit_code == BAD_INPUT


@pytest.mark.parametrize("text", ["", "# nothing is asked for\n", "{}"])
def test_no_key_is_required(tmp_path, text):
    assert read_profile(write(tmp_path, text)) == Profile()


def test_all_mistakes_are_told_together(tmp_path):
    with pytest.raises(SweepError) as caught:
        read_profile(write(tmp_path, "max_jobs: 0\nqueue: x\nflags: {output: y}"))
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]


def test_a_name_is_looked_for_in_the_users_folder_and_a_path_is_itself(tmp_path):
    profiles_folder().mkdir(parents=True)
    (profiles_folder() / "ours.yaml").write_text("partition: gpu")
    assert find_cluster("ours").profile == Profile(partition="gpu")
    assert find_cluster(str(write(tmp_path, "qos: low"))).profile == Profile(qos="low")
    with pytest.raises(BadInput, match=r"allowed: devcluster, ours, .*did you mean 'ours'"):
        find_cluster("our")
    with pytest.raises(SweepError, match="no such file"):
        find_cluster(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("text", ["controller: false", "controller: null"])
def test_the_small_job_may_be_left_out(tmp_path, text):
    assert read_profile(write(tmp_path, text)).controller is (False if "false" in text else None)


def test_a_store_may_be_below_what_the_shell_names(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    assert store_of(str(write(tmp_path, "store: $SCRATCH/store"))) == Path("/scratch/me/store")
    assert store_of(str(write(tmp_path, ""))) is None


def test_a_development_cluster_that_is_not_up_is_told():
    with pytest.raises(BadInput, match="ablate devcluster up"):
        find_cluster("devcluster")


def test_a_machine_without_slurm_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, **_: None)
    with pytest.raises(BadInput, match="login node"):
        find_cluster(str(write(tmp_path, "{}")))
