"""Sweeps that are submitted to a real SLURM and left alone, by the commands a user types."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations.errors import BAD_INPUT, OK, STOPPED, TRIALS_FAILED
from ablations.lease import acquire
from slurm import devcluster
from slurm.commands import Slurm
from slurm.devcluster_config import DevclusterRefused, Shape
from slurm.devcluster_daemons import require_packages

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
SWEEP = """\
name: small
set:
  encoder.objective: none
  decoder.layers: 1
  data.world.train_scenes: 100
  data.world.evaluation_scenes: 50
  training: {steps: 3, rows_per_step: 2}
  evaluation: {items: 8, tasks: [colour], shots: [0]}
axes: {connector.num_tokens: [4, 9]}
design: grid
objective: {metric: eval/zero_shot, direction: maximize}
"""


def cluster(folder: Path, *, accounting: bool) -> Iterator[Path]:
    try:
        require_packages(accounting=accounting)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    yield devcluster.up(folder, Shape(nodes=1, accounting=accounting)).slurm_conf
    devcluster.down(folder)


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from cluster(tmp_path_factory.mktemp("cluster") / "devcluster", accounting=False)


@pytest.fixture(scope="module")
def accounting_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from cluster(tmp_path_factory.mktemp("accounting") / "devcluster", accounting=True)


class User:
    """Types commands in a folder of their own, which is reached through a link, as home folders often are."""

    def __init__(self, folder: Path, conf: Path) -> None:
        (folder / "real").mkdir()
        self.folder = folder / "home"
        self.folder.symlink_to(folder / "real", target_is_directory=True)
        folder = self.folder
        self.slurm = Slurm({"SLURM_CONF": str(conf)})
        self._environment = {**os.environ, "SLURM_CONF": str(conf), "PYTHONPATH": str(ROOT)}
        (folder / "ours.yaml").write_text("poll_seconds: 1\n")
        self.sweep()

    def sweep(self, **changes: str) -> None:
        text = SWEEP
        for old, new in changes.items():
            line = next(line for line in SWEEP.splitlines() if line.strip().startswith(old))
            text = text.replace(line, line[: len(line) - len(line.lstrip())] + new)
        (self.folder / "small.yaml").write_text(text)

    def type(self, *arguments: str, code: int = OK) -> str:
        ended = self.begin(*arguments)
        printed, messages = ended.communicate(timeout=PATIENCE)
        assert "Traceback" not in messages, messages
        assert ended.returncode == code, messages
        return printed

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "ablations", *arguments, "--store", "store"],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def submit(self, *options: str, code: int = OK) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.type("submit", "small.yaml", "--profile", "./ours.yaml", "--json", *options, code=code)
        )
        return found

    def breaks(self, command: str, words: str) -> Path:
        """From now on, while the file exists that is returned, this command of SLURM fails with these words."""
        script, broken = self.folder / "bin" / command, self.folder / f"{command}-fails"
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f'#!/bin/sh\nif [ -e {broken} ]; then echo "{words}" >&2; exit 1; fi\nexec {shutil.which(command)} "$@"\n'
        )
        script.chmod(0o755)
        self._environment["PATH"] = f"{script.parent}{os.pathsep}{os.environ['PATH']}"
        return broken

    def follower(self, *states: str) -> str:
        """SLURM's line about the small job: its state and how often it was queued again."""
        options = [f"--states={','.join(states)}"] if states else []
        answer = self.slurm.ask("squeue", "--me", "-h", "--name=small-next", "--Format=State:|,RestartCnt:|", *options)
        return answer.text.strip()

    def status(self, code: int = OK) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.type("status", "small", "--json", code=code))
        return found

    def finished(self) -> bool:
        path = self.folder / "store" / "sweeps" / "small" / "look.json"
        return path.exists() and bool(json.loads(path.read_text())["finished"])

    def queue(self) -> list[str]:
        return self.slurm.ask("squeue", "--me", "--noheader", "--format=%j %T").text.splitlines()


@pytest.fixture
def user(tmp_path: Path, conf: Path) -> User:
    return User(tmp_path, conf)


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


def second_attempts(user: User) -> list[Path]:
    return list(user.folder.glob("store/sweeps/small/trials/*/attempt-2.log"))


@pytest.mark.parametrize("kind", ["conf", "accounting_conf"])
def test_submit_leave_and_come_back(tmp_path, request, kind):
    user = User(tmp_path, request.getfixturevalue(kind))
    said = user.submit()
    assert (said["name"], said["queued"] + said["running"]) == ("small", 1)  # the stage that all share
    assert user.status()["submission"]["profile"] == "./ours.yaml"
    until(user.finished)  # by the jobs alone
    assert user.status()["states"]["done"] == 2
    result = json.loads(user.type("watch", "small", "--json", "--quiet"))
    assert result["states"]["done"] == 2
    assert Path(user.folder / result["report"]).exists()
    assert user.submit()["states"]["done"] == 2  # nothing is left to do
    until(lambda: user.queue() == [] or all("COMPLETED" in line for line in user.queue()))
    made = [json.loads(path.read_text())["provenance"] for path in user.folder.glob("store/*/*/record.json")]
    assert {one["slurm_restarts"] for one in made} == {0}
    assert all(one["slurm_job"] and one["versions"]["torch"] != "unknown" for one in made)


def test_the_commands_of_the_documentation_as_they_stand(tmp_path):
    """With a shorter copy of the sweep."""
    try:
        require_packages(accounting=False)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    sweep = yaml.safe_load((ROOT / "sweeps" / "quickstart.yaml").read_text())
    del sweep["axes"]["image.acuity"]
    sweep["seeds"] = [0]
    sweep["set"] |= {"training.steps": 3, "encoder.training.steps": 3, "evaluation.items": 8}
    sweep["set"] |= {"data.world.train_scenes": 200, "data.world.evaluation_scenes": 50}
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "quickstart.yaml").write_text(yaml.safe_dump(sweep))
    _, section = (ROOT / "docs" / "devcluster.md").read_text().split("## A sweep on it\n")
    lines = [shlex.split(line, comments=True) for line in section.split("```")[1].splitlines() if line]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    environment.pop("SLURM_CONF", None)

    def type_(*words: str) -> None:
        command = [sys.executable, "-m", "ablations", *words]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ended.returncode == OK, (words, ended.stdout, ended.stderr)

    try:
        for program, *words in lines:
            assert program == "ablate"
            type_(*words)
    finally:
        type_("devcluster", "down")
    assert [words[:2] for _, *words in lines][:2] == [["devcluster", "up"], ["submit", "sweeps/quickstart.yaml"]]
    assert len(list(tmp_path.glob("store/sweeps/quickstart/trials/*/record.json"))) == 2
    assert list(tmp_path.glob("store/sweeps/quickstart/report/*.html"))


def test_the_doctor_sends_a_process_for_each_gpu(user):
    answer = json.loads(user.type("doctor", "--profile", "./ours.yaml", "--gpus", "2", "--json", code=BAD_INPUT))
    checks = {check["name"]: check for check in answer["checks"]}
    assert checks["node: GPUs"]["text"] == "SLURM gave 2: 0, 1"
    assert [name for name, check in checks.items() if check["state"] == "failed"] == ["node: torch"]  # they are names


def test_cancel_ends_what_runs_and_waits_and_submitting_goes_on(user):
    user.sweep(training="training: {steps: 4000, rows_per_step: 2, checkpoint_every: 10}")
    user.submit()
    until(lambda: any(user.folder.glob("store/pretrain/*/work/checkpoints/step-*.ckpt")))
    answer = json.loads(user.type("cancel", "small", "--json"))
    assert answer["left"] == 0
    assert user.status()["states"]["waiting"] == 2
    until(lambda: not {"small PENDING", "small RUNNING"} & set(user.queue()))  # at once, but for their last acts
    assert user.finished()
    assert json.loads(user.type("watch", "small", "--json", "--quiet", code=STOPPED))["stopped"]
    user.type("cancel", "small", code=BAD_INPUT)  # nothing runs
    user.submit()
    until(lambda: "is taken up" in "".join(path.read_text() for path in second_attempts(user)))
    user.type("cancel", "small", "--kill", "--json")
    assert user.status()["states"]["waiting"] == 2


def test_what_fails_is_told_and_tried_again_on_request(user):
    user.sweep(decoder="decoder.extra: {no_such_key_of_the_model: 1, hidden_act: nonsense}")
    user.submit()
    until(user.finished)
    failed = [trial for trial in user.status(TRIALS_FAILED)["trials"] if trial["state"] == "failed"]
    assert len(failed) == 2
    user.type("retry", "small", failed[0]["key"])
    until(lambda: [path.parent.name for path in second_attempts(user)] == [failed[0]["key"]])
    until(user.finished)
    assert len(second_attempts(user)) == 1
    user.type("retry", "small", "nonsense", code=BAD_INPUT)


def test_a_search_asks_for_the_next_arm_when_one_has_ended(user):
    user.sweep(
        axes="axes: {connector.scale: {low: 0.1, high: 1.0}}", design="design: {kind: search, arms: 4, sampler: random}"
    )
    user.submit("--workers", "2")
    most = 0
    while not user.finished():
        states = user.status()["states"]
        most = max(most, states["running"] + states["waiting"])
    assert user.status()["states"]["done"] == 4
    assert most == 2


def test_what_the_cluster_would_refuse_is_said_in_its_own_words_before_anything_is_written(user):
    (user.folder / "ours.yaml").write_text("poll_seconds: 1\npartition: nowhere\n")
    for command in ("submit", "run", "submit"):
        ended = user.begin(command, "small.yaml", "--profile", "./ours.yaml")
        _, messages = ended.communicate(timeout=PATIENCE)
        assert ended.returncode == BAD_INPUT
        assert "invalid partition specified" in messages
        assert not (user.folder / "store").exists()
        if command == "run":  # the jobs would be taken, and the small one that looks after them would not
            (user.folder / "ours.yaml").write_text("poll_seconds: 1\ncontroller: {partition: nowhere}\n")


def test_a_sweep_whose_next_stage_another_one_holds_goes_on_when_that_is_over(user):
    (trial, _) = json.loads(user.type("plan", "small.yaml", "--json"))["trials"]
    stage = user.folder / "store" / "world" / trial["stages"]["world"]
    stage.mkdir(parents=True)
    lease = acquire(stage)
    try:
        assert user.submit()["queued"] == 0
        until(lambda: "PENDING|1|" in user.follower())
    finally:
        lease.release()
    until(user.finished)
    assert user.status()["states"]["done"] == 2
    until(lambda: not user.follower())  # it may have seen the end itself and be about to go


def test_a_limit_that_others_reach_while_none_of_its_jobs_is_left_is_waited_for(user):
    full = user.breaks("sbatch", "sbatch: error: QOSMaxSubmitJobPerUserLimit")
    user.submit()
    full.touch()
    until(lambda: user.status()["submission"]["unsent"] and "PENDING|1|" in user.follower())
    assert "small PENDING" not in user.queue()
    assert not user.finished()
    full.unlink()
    until(user.finished)
    assert user.status()["states"]["done"] == 2


def test_a_look_that_slurm_did_not_answer_is_taken_again(user):
    silent = user.breaks("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    user.submit()
    silent.touch()
    until(lambda: "PENDING|1|" in user.follower())  # no job is left, and its own first look failed as well
    silent.unlink()
    until(user.finished)
    assert user.status()["states"]["done"] == 2


def test_a_job_whose_node_could_not_launch_it_is_sent_again(user, conf):
    """SLURM drains the node, queues the job again and holds it for good."""
    broken, prolog = user.folder / "broken", user.folder / "prolog"
    broken.touch()
    prolog.write_text(f"#!/bin/sh\n[ ! -e {broken} ]\n")
    prolog.chmod(0o755)
    text = conf.read_text()
    conf.write_text(f"{text}Prolog={prolog}\n")
    try:
        user.slurm.ask("scontrol", "reconfigure")
        user.submit()
        until(lambda: "held" in user.slurm.ask("squeue", "--me", "--noheader", "--name=small", "--format=%r").text)
        broken.unlink()
        user.slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
        user.type("advance", "small")
        until(user.finished)
    finally:
        conf.write_text(text)
        user.slurm.ask("scontrol", "reconfigure")
    found = user.status()
    assert (found["states"]["done"], found["cut_short"]) == (2, {"lost": 1})
    assert "small PENDING" not in user.queue()


def test_jobs_that_wait_are_sent_anew_when_what_they_ask_for_was_changed(user):
    def waiting() -> list[str]:
        answer = user.slurm.ask("squeue", "--me", "--noheader", "--states=PENDING", "--name=small", "--format=%i %l")
        return answer.text.split()

    user.slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    try:
        user.submit()
        (user.folder / "ours.yaml").write_text('poll_seconds: 1\ntime: "2:00:00"\n')
        assert user.submit()["queued"] == 1
        assert waiting()[1:] == ["2:00:00"]
        with (user.folder / "small.yaml").open("a") as file:
            file.write('resources: {time: "1:00:00"}\n')
        user.submit()
        number, limit = waiting()
        assert limit == "1:00:00"
        text = (user.folder / "small.yaml").read_text()
        (user.folder / "small.yaml").write_text(text.replace("steps: 3", "steps: 3, checkpoint_every: 2"))
        user.submit()
        assert waiting()[0] != number
        user.submit()
        until(lambda: user.type("advance", "small") or user.status()["submission"]["reasons"])
    finally:
        user.slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
    until(user.finished)
    assert user.status()["states"]["done"] == 2
    assert not second_attempts(user)


def test_jobs_of_another_cluster_are_left_alone(user):
    user.slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    try:
        user.submit()
        home = user.folder / "store" / "sweeps" / "small" / "cluster" / "home.json"
        here = json.loads(home.read_text())
        assert here["cluster"] == "devcluster"
        home.write_text(json.dumps({**here, "cluster": "another"}))
        user.type("advance", "small", code=STOPPED)
        user.type("submit", "small.yaml", "--profile", "./ours.yaml", code=BAD_INPUT)
        assert user.queue().count("small PENDING") == 1
        home.write_text(json.dumps(here))
        assert json.loads(user.type("cancel", "small", "--json"))["left"] == 0
        assert not home.exists()
    finally:
        user.slurm.ask("scontrol", "update", "nodename=n1", "state=resume")


def test_a_run_that_another_one_took_over_leaves_it_its_jobs(user):
    """The first is stopped until its lease seems to be that of a dead process elsewhere."""
    user.slurm.ask("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    command = ("run", "small.yaml", "--profile", "./ours.yaml", "--quiet")
    first = second = user.begin(*command)
    try:
        until(lambda: "small PENDING" in user.queue())
        first.send_signal(signal.SIGSTOP)
        (lease,) = (user.folder / "store" / "sweeps" / "small").glob("lease-*")
        lease.write_text(json.dumps({**json.loads(lease.read_text()), "machine": "elsewhere"}))
        os.utime(lease, (0, 0))
        second = user.begin(*command)
        until(lambda: not lease.exists())
        first.send_signal(signal.SIGCONT)
        _, messages = first.communicate(timeout=PATIENCE)
        assert (first.returncode, "Traceback" in messages) == (STOPPED, False), messages
        assert user.queue() == ["small PENDING"]
        assert list(user.folder.glob("store/sweeps/small/cluster/*/*.json"))
    finally:
        first.kill()
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=PATIENCE)
        user.slurm.ask("scontrol", "update", "nodename=n1", "state=resume")
    assert second.returncode == STOPPED
