"""The drill: real trainings on a real SLURM that does to them all that a cluster does, and nobody who looks after them.

``python tests/cluster_drill.py --seed 1 [--accounting] [--output table.md]`` brings a development cluster up, submits
24 short trainings, and while they run commits every fault below once, in an order and on victims that the seed decides.
Nothing but the jobs themselves carries the sweep on. Then the records are compared with those of the same sweep on
this machine, undisturbed. Prints what was done and what it cost; exits with 1 where anything differs.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drill_table import Done, table
from drill_trainings import Training, checkpoints, environment_of, is_stopped, job_id, last_step, processes
from store_contents import differences

from slurm import devcluster
from slurm.commands import Slurm
from slurm.devcluster_config import Shape

ROOT = Path(__file__).parents[1]
SWEEP = """\
name: drill
set:
  encoder.objective: none
  decoder.layers: 1
  data.world.train_scenes: 2000
  data.world.evaluation_scenes: 100
  training: {steps: 100, rows_per_step: 4, checkpoint_every: 5, log_every: 1}
  evaluation: {items: 16, tasks: [colour], shots: [0]}
axes:
  connector.kind: [average_pool, attention_pool, c_abstractor]
design: grid
seeds: [0, 1, 2, 3, 4, 5, 6, 7]
objective: {metric: eval/zero_shot, direction: maximize}
"""
PROFILE = "partition: low\nmax_jobs: 6\npoll_seconds: 1\n"
_FORGOTTEN = 6.0
"""Seconds after which the cluster does not show any more what has ended."""
_MOST_KILLS = 4
PATIENCE = 900.0
"""Seconds after the last fault until all is given up."""


class Drill:
    def __init__(self, root: Path, *, seed: int, accounting: bool) -> None:
        self.root = root
        self.chance = random.Random(seed)
        self.store = root / "store"
        self.folder = self.store / "sweeps" / "drill"
        self.cluster = root / "cluster"
        self.shape = Shape(nodes=2, accounting=accounting)
        self.done: list[Done] = []
        conf = devcluster.up(self.cluster, self.shape).slurm_conf
        self.slurm = Slurm({"SLURM_CONF": str(conf)})
        # As on a busy cluster: `squeue` forgets at once what has ended, and others must be asked.
        conf.write_text(conf.read_text().replace("MinJobAge=3600", "MinJobAge=2"))
        self.slurm.ask("scontrol", "reconfigure")
        (root / "sweep.yaml").write_text(SWEEP)
        (root / "profile.yaml").write_text(PROFILE)
        self.broken_sacct, self.asked_sacct = root / "sacct-is-broken", root / "sacct-was-asked"
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(conf),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{self._sacct()}{os.pathsep}{os.environ['PATH']}",
        }

    def _sacct(self) -> Path:
        """A folder with a ``sacct`` that fails while it is told to, and keeps count."""
        script = self.root / "bin" / "sacct"
        script.parent.mkdir()
        real = shutil.which("sacct")
        script.write_text(
            f"#!/bin/sh\n[ -e {self.broken_sacct} ] && {{ echo no >> {self.asked_sacct}; exit 1; }}\n"
            f'echo yes >> {self.asked_sacct}\nexec {real} "$@"\n'
        )
        script.chmod(0o755)
        return script.parent

    def ablate(self, *arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "ablations", *arguments], env=self.environment, check=True, cwd=ROOT)

    # What there is to see

    def trainings(self) -> list[Training]:
        """Jobs that have trained for some steps and not nearly all, and further than when they were hit before: what
        is killed again and again at the same step is given up, and rightly so."""
        hit = {one.victim.stage: one.step or 0 for one in self.done if one.victim is not None}
        found = []
        for lease in self.store.glob("pretrain/*/lease-*"):
            work = lease.with_name("work")
            try:
                pid = int(json.loads(lease.read_text())["pid"])
                environment = environment_of(pid)
            except (OSError, ValueError):  # it has ended meanwhile
                continue
            if (
                max(4, hit.get(work.parent.name, 0) + 1) <= last_step(work) <= 48
                and "SLURMD_NODENAME" in environment
                and not is_stopped(pid)
            ):
                found.append(
                    Training(
                        job=job_id(environment),
                        stage=work.parent.name,
                        work=work,
                        pid=pid,
                        node=environment["SLURMD_NODENAME"],
                    )
                )
        return sorted(found, key=lambda one: one.stage)

    def victim(self) -> Training:
        return self.chance.choice(until(self.trainings, self.finished))

    def saved_victim(self) -> Training:
        """One that has a checkpoint."""
        return self.chance.choice(until(lambda: [one for one in self.trainings() if checkpoints(one)], self.finished))

    def finished(self) -> bool:
        try:
            return bool(json.loads((self.folder / "look.json").read_text())["finished"])
        except (FileNotFoundError, ValueError):
            return False

    def note(self, fault: str, victim: Training | None = None) -> None:
        step = victim.step if victim else None
        self.done.append(Done(fault=fault, time=time.time(), victim=victim, step=step))
        place = f": {victim.stage} at step {step}, job {victim.job} on {victim.node}" if victim else ""
        print(f"{time.strftime('%H:%M:%S')} {fault}{place}", flush=True)

    # What can happen

    def faults(self) -> list[Callable[[], None]]:
        faults = [
            self.kill_training,
            self.kill_script,
            self.truncate_checkpoint,
            self.requeue,
            self.preempt_at_once,
            self.preempt_with_grace,
            self.warn_of_time_limit,
            self.reach_time_limit,
            self.lose_node,
            self.lose_controller,
            self.kill_dispatcher,
            self.break_sacct,
        ]
        if self.shape.accounting:
            faults.append(self.lose_accounting)
        self.chance.shuffle(faults)
        return faults

    def kill_training(self) -> None:
        victim = self.victim()
        self.note("kill -9 of a training", victim)
        os.kill(victim.pid, signal.SIGKILL)

    def kill_script(self) -> None:
        """The job's last act goes with it."""
        victim = self.victim()
        self.note("kill -9 of a batch script", victim)
        for pid, environment in self.processes("slurm_script"):
            if "SLURM_JOB_ID" in environment and job_id(environment) == victim.job:
                os.kill(pid, signal.SIGKILL)

    def truncate_checkpoint(self) -> None:
        victim = self.saved_victim()
        os.kill(victim.pid, signal.SIGSTOP)
        self.note("newest checkpoint cut in half, then kill -9", victim)
        newest = checkpoints(victim)[-1]
        os.truncate(newest, newest.stat().st_size // 2)
        os.kill(victim.pid, signal.SIGKILL)

    def requeue(self) -> None:
        victim = self.victim()
        self.note("scontrol requeue", victim)
        self.slurm.ask("scontrol", "requeue", victim.job)

    def preempt_at_once(self) -> None:
        self._preempt("preempted without grace")

    def preempt_with_grace(self) -> None:
        self.slurm.ask("scontrol", "update", "PartitionName=low", "GraceTime=10")
        self._preempt("preempted with 10 s of grace")
        self.slurm.ask("scontrol", "update", "PartitionName=low", "GraceTime=0")

    def _preempt(self, fault: str) -> None:
        victim = self.victim()
        self.note(fault, victim)
        wish = ("--partition=high", f"--nodelist={victim.node}", "--exclusive", "--output=/dev/null")
        number = self.slurm.ask("sbatch", "--parsable", *wish, "--wrap=sleep 2").text.strip()
        until(lambda: self.slurm.ask("squeue", "-h", "-j", number, "-o", "%T").text.strip() in ("COMPLETED", ""))

    def warn_of_time_limit(self) -> None:
        """Less than the 90 seconds are left of which a job wants to be warned."""
        victim = self.victim()
        self.note("near its time limit", victim)
        self.slurm.ask("scontrol", "update", f"JobId={victim.job}", "TimeLimit=2")

    def reach_time_limit(self) -> None:
        """Of a training that hangs, so that the warning does not help."""
        victim = self.victim()
        os.kill(victim.pid, signal.SIGSTOP)
        self.note("hangs until its time limit", victim)
        self.slurm.ask("scontrol", "update", f"JobId={victim.job}", "TimeLimit=1")

    def lose_node(self) -> None:
        """As if its plug were pulled, and put back."""
        victim = self.victim()
        self.note(f"{victim.node} lost with all that ran on it", victim)
        (daemon,) = [one for one in devcluster.status(self.cluster).daemons if one.name == f"slurmd-{victim.node}"]
        if daemon.pid is not None:
            os.kill(daemon.pid, signal.SIGKILL)
        for pid, environment in self.processes(""):
            if environment.get("SLURMD_NODENAME") == victim.node:
                os.kill(pid, signal.SIGKILL)
        time.sleep(3)
        devcluster.up(self.cluster)

    def processes(self, words: str) -> list[tuple[int, dict[str, str]]]:
        """Those of this cluster alone: others may have nodes of the same names, and jobs of the same numbers."""
        conf = devcluster.status(self.cluster).slurm_conf.resolve()
        every = processes(words)
        return [(pid, one) for pid, one in every if "SLURM_CONF" in one and Path(one["SLURM_CONF"]).resolve() == conf]

    def lose_controller(self) -> None:
        """Once it has saved its state: jobs that SLURM was told of in the seconds before, it forgets, and whoever
        submitted them has to look again."""
        jobs, now = self.cluster / "run" / "state" / "job_state", time.time()
        until(lambda: jobs.exists() and jobs.stat().st_mtime > now, self.finished)
        self._lose("slurmctld", seconds=8)

    def lose_accounting(self) -> None:
        self._lose("slurmdbd", seconds=8)

    def _lose(self, name: str, *, seconds: float) -> None:
        self.note(f"{name} killed and back after {seconds:.0f} s")
        (daemon,) = [one for one in devcluster.status(self.cluster).daemons if one.name == name]
        if daemon.pid is not None:
            os.kill(daemon.pid, signal.SIGKILL)
        time.sleep(seconds)
        devcluster.up(self.cluster)

    def kill_dispatcher(self) -> None:
        """Whoever carries the sweep on, in the middle of it: it holds the sweep, and has not let it go when it dies."""

        def killed() -> bool:
            owner = self.owner()
            if owner is None:
                return False
            with_luck(lambda: os.kill(owner, signal.SIGSTOP))
            if self.owner() != owner:  # it was faster, and whoever has its number now goes on
                with_luck(lambda: os.kill(owner, signal.SIGCONT))
                return False
            os.kill(owner, signal.SIGKILL)
            return True

        until(killed, self.finished, every=self.chance.uniform(0.01, 0.1))
        self.note("kill -9 of ablate advance in the middle of a look")

    def owner(self) -> int | None:
        """Process that takes a look at this moment."""
        for lease in self.folder.glob("lease-*"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(json.loads(lease.read_text())["pid"])
                if b"advance" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        return None

    def break_sacct(self) -> None:
        """And jobs die without a word until somebody asked for one that the queue had forgotten by then."""
        self.note("sacct fails from here on")
        self.broken_sacct.touch()
        for _ in range(_MOST_KILLS):
            self.kill_script()
            time.sleep(_FORGOTTEN)
            if self.asked_sacct.exists() and "no" in self.asked_sacct.read_text().split():
                return

    # The whole

    def run(self) -> None:
        self.ablate("submit", str(self.root / "sweep.yaml"), "--profile", str(self.root / "profile.yaml"), *self.at())
        for fault in self.faults():
            fault()
            time.sleep(self.chance.uniform(2.0, 8.0))
        end = time.monotonic() + PATIENCE
        until(lambda: self.finished() or time.monotonic() > end)

    def undisturbed(self, store: Path) -> Path:
        self.ablate("run", str(self.root / "sweep.yaml"), "--store", str(store), "--quiet")
        return store

    def at(self) -> tuple[str, str]:
        return "--store", str(self.store)

    def complaints(self, undisturbed: Path) -> list[str]:
        """What is not as it must be; nothing, one hopes."""
        found = [] if self.finished() else ["the sweep did not end"]
        if not self.asked_sacct.exists():
            found.append("no job had left the queue before it was looked for")
        found += differences(self.store, undisturbed)
        ended = Counter(re.findall(r" (\w+/\w+) is done after", self.logs()))
        found += [f"{stage} ran to its end {count} times" for stage, count in ended.items() if count != 1]
        return found

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.rglob("*attempt-*.log")))


def until(condition: Callable[[], Any], over: Callable[[], bool] = lambda: False, *, every: float = 0.2) -> Any:
    while not (found := condition()):
        if over():
            raise SystemExit("the sweep ended before every fault was committed")
        time.sleep(every)
    return found


def with_luck(act: Callable[[], None]) -> None:
    try:
        act()
    except ProcessLookupError:
        return


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--accounting", action="store_true", help="with slurmdbd, which is lost for a while as well")
    options.add_argument("--output", type=Path, help="where to write the table")
    options.add_argument("--keep", type=Path, help="a folder to work in, and to leave as it is")
    wanted = options.parse_args()
    root = wanted.keep or Path(tempfile.mkdtemp(prefix="drill-"))
    root.mkdir(parents=True, exist_ok=True)
    drill = Drill(root, seed=wanted.seed, accounting=wanted.accounting)
    try:
        drill.run()
    finally:
        devcluster.down(drill.cluster)
    complaints = drill.complaints(drill.undisturbed(root / "undisturbed"))
    shown = table(drill.done, drill.folder)
    print(shown)
    if wanted.output is not None:
        wanted.output.write_text(shown + "\n")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    if wanted.keep is None:
        shutil.rmtree(root, ignore_errors=True)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
