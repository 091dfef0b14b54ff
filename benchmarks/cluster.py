"""What it costs to submit, look after and show a sweep of very many trials on a real SLURM, all of them held.

    python benchmarks/cluster.py [--trials 10000]
    python benchmarks/cluster.py --running 12

Brings a development cluster up in a temporary folder. The stage that all trials share is made first, so that every
trial is ready. For each number of trials, in one run: planning, submitting, one more look, ``ablate status``, and how
often SLURM was asked. Then a tenth of the jobs is submitted as a user would by hand, as arrays of the same length, for
comparison. With ``--running``: so many trials, and ten times as many, whose jobs sleep for eight seconds, four at a
time, and carry the sweep on by themselves; how often a minute SLURM was asked meanwhile, by whomever. Prints JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablations.detached import advance, submit_sweep
from slurm import devcluster
from slurm.commands import Answer, Slurm
from slurm.devcluster_config import Shape

SWEEP = """\
name: {name}
set:
  encoder.objective: none
  data.world.train_scenes: 100
  data.world.evaluation_scenes: 50
  training.steps: 1
  evaluation: {{items: 1, tasks: [colour], shots: [0]}}
axes: {{connector.kind: [average_pool, attention_pool]}}
design: grid
seeds: [{seeds}]
objective: {{metric: eval/zero_shot, direction: maximize}}
"""
PROFILE = "poll_seconds: 1\nmax_jobs: 100000\nflags: {hold: true}\n"
RUNNING = "poll_seconds: 10\nmax_jobs: 4\nsetup: [sleep 8]\npython: {python} {script}\n"
QUICK = """\
import runpy, sys
from mm1core.stages import KINDS, StageKind

def run(stage, *, inputs, work, stop):
    return {"metrics": {"eval/zero_shot": 0.5}}

sys.modules["quick"] = sys.modules["__main__"]
for kind, one in list(KINDS.items()):
    KINDS[kind] = StageKind(config=one.config, version=one.version, target="quick:run")
module, *sys.argv[1:] = [word for word in sys.argv[1:] if word not in ("-u", "-m")]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Stands for Python on the nodes: its stages do nothing."""
COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
ASKED: Counter[str] = Counter()
"""Calls of SLURM's commands, by name."""


def count_calls() -> None:
    ask = Slurm.ask

    def counted(self: Slurm, *command: str, **options: Any) -> Answer:
        ASKED[command[0]] += 1
        return ask(self, *command, **options)

    Slurm.ask = counted  # type: ignore[method-assign]


def measure(root: Path, trials: int) -> dict[str, Any]:
    store, name = root / "store", f"held-{trials}"
    file = root / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, seeds=", ".join(map(str, range(trials // 2)))))
    found: dict[str, Any] = {"trials": trials}
    found["plan_s"], _ = timed(lambda: ablate("plan", str(file), "--store", str(store)))
    ASKED.clear()
    found["submit_s"], (_, status) = timed(
        lambda: submit_sweep(
            file, store=store, profile=str(root / "profile.yaml"), workers=None, say=print_nothing, warn=print_nothing
        )
    )
    found["queued"] = status.queued
    found["submit_ms_per_trial"] = round(1000 * found["submit_s"] / trials, 2)
    found["submit_calls"] = dict(ASKED)
    ASKED.clear()
    found["look_s"], _ = timed(lambda: advance(name, store=store, say=print_nothing, warn=print_nothing))
    found["look_calls"] = dict(ASKED)
    ablate("status", name, "--store", str(store))
    found["status_s"], _ = timed(lambda: ablate("status", name, "--store", str(store)))
    number = subprocess.run(["squeue", "--me", "-h", "-r"], capture_output=True, text=True, check=True).stdout
    found["in_squeue"] = len(number.splitlines())
    subprocess.run(["scancel", "--me"], check=True)
    return found


def running(root: Path, trials: int) -> dict[str, Any]:
    """Calls a minute, of the jobs as of everybody, from the submission to the last record."""
    store, name = root / "store", f"running-{trials}"
    called = root / "called"
    for command in COMMANDS:
        script = root / "bin" / command
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho {command} >> {called}\nexec {shutil.which(command)} "$@"\n')
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}
    (root / "quick.py").write_text(QUICK)
    (root / "profile.yaml").write_text(RUNNING.format(python=sys.executable, script=root / "quick.py"))
    file = root / f"{name}.yaml"
    file.write_text(SWEEP.format(name=name, seeds=", ".join(map(str, range(trials // 2)))))
    options = ["--profile", str(root / "profile.yaml"), "--store", str(store)]
    command = [sys.executable, "-m", "ablations", "submit", str(file), *options]
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    look = store / "sweeps" / name / "look.json"
    while not json.loads(look.read_text())["finished"]:
        time.sleep(1)
    minutes = (time.perf_counter() - started) / 60
    calls = Counter(called.read_text().split())
    found = {"trials": trials, "minutes": round(minutes, 1), "ends_per_minute": round((trials + 1) / minutes, 1)}
    return {**found, "calls_per_minute": {one: round(count / minutes, 1) for one, count in sorted(calls.items())}}


def by_hand(trials: int, length: int) -> dict[str, Any]:
    """The least that anybody could do: ``sbatch`` for arrays that do nothing."""
    calls = -(-trials // length)

    def send() -> None:
        for _ in range(calls):
            command = ["sbatch", "--hold", f"--array=0-{length - 1}", "--output=/dev/null", "--wrap=true"]
            subprocess.run(command, capture_output=True, check=True)

    seconds, _ = timed(send)
    subprocess.run(["scancel", "--me"], check=True)
    return {"jobs": trials, "calls": calls, "seconds": seconds, "ms_per_job": round(1000 * seconds / trials, 2)}


def timed(act: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = act()
    return round(time.perf_counter() - started, 3), result


def ablate(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ablations", *arguments], check=True, stdout=subprocess.DEVNULL)


def print_nothing(text: str) -> None:
    pass


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, default=10_000)
    options.add_argument("--running", type=int, help="trials of a sweep that runs")
    wanted = options.parse_args()
    if wanted.running is not None:
        for trials in (wanted.running, 10 * wanted.running):
            with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)):
                print(json.dumps(running(Path(folder), trials)), flush=True)
        return
    count_calls()
    found: dict[str, Any] = {"sweeps": []}
    for trials in (wanted.trials // 10, wanted.trials):
        with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)):
            root = Path(folder)
            (root / "profile.yaml").write_text(PROFILE)
            first = root / "first.yaml"
            first.write_text(SWEEP.format(name="first", seeds="0"))
            ablate("run", str(first), "--store", str(root / "store"), "--quiet")
            found["sweeps"].append(measure(root, trials))
        print(json.dumps(found["sweeps"][-1]), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)):
        found["by_hand"] = by_hand(wanted.trials // 10, length=9)  # of the development cluster's arrays
    print(json.dumps(found, indent=1))


@contextmanager
def cluster(root: Path) -> Iterator[None]:
    """A new one each time: SLURM remembers cancelled jobs for minutes, and takes 10,000 in all."""
    folder = root / "cluster"
    os.environ["SLURM_CONF"] = str(devcluster.up(folder, Shape(nodes=1)).slurm_conf)
    try:
        yield
    finally:
        devcluster.down(folder)


if __name__ == "__main__":
    main()
