"""Idle time and overhead beside Hydra's submitit launcher (on SLURM) and Ray Tune (on this machine).

    python -m venv peers && peers/bin/pip install hydra-core hydra-submitit-launcher "ray[tune]"
    python benchmarks/peers.py --peers peers/bin/python

The same trials that only sleep, of very different lengths, three at a time. For each tool: the wall time, how much
longer that is than if a trial followed another one without any delay, and per trial. Prints JSON.
"""

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slurm import devcluster
from slurm.devcluster_config import Shape

ROOT = Path(__file__).parents[1]
SLOTS = 3
OURS = """\
import json, sys
from pathlib import Path
from dataclasses import replace
sys.path[:0] = [{root!r}, {tests!r}]
import tally
from ablations.dispatch import dispatch, hold_sweep
from ablations.progress import open_display
from ablations.store import Store
from slurm.launcher import Resources
seconds, folder, conf = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] or None
names = {{str(number): one for number, one in enumerate(seconds)}}
plan = tally.plan({{(name, 0): [tally.tally(name, steps=1, step_seconds=one)] for name, one in names.items()}})
from drill_run import open_launcher
store = Store(folder)
store.prepare()
with hold_sweep(store, plan.sweep.name) as taken_over, open_display(quiet=True) as display:
    launcher = open_launcher(store.sweep(plan.sweep.name), workers={slots}, slurm_conf=conf)
    if conf:
        launcher._capacity = {slots}
    try:
        ended = dispatch(plan, store=store, launcher=launcher, resources=Resources(), display=display,
                         provenance=lambda: {{"commit": None}}, taken_over=taken_over)
    finally:
        launcher.close()
assert ended.status.counts["done"] == len(seconds), ended.status
"""
HYDRA = """\
import time
import hydra
from hydra.core.config_store import ConfigStore
ConfigStore.instance().store(name="config", node={"seconds": 1.0})
@hydra.main(version_base=None, config_name="config")
def main(config):
    time.sleep(config.seconds)
main()
"""
RAY = """\
import json, sys, time
import ray
from ray import tune
seconds = json.loads(sys.argv[1])
ray.init(num_cpus=%d, include_dashboard=False, log_to_driver=False)
def trial(config):
    time.sleep(config["seconds"])
    return {"score": 0.0}
tuner = tune.Tuner(
    trial,
    param_space={"seconds": tune.grid_search(seconds)},
    tune_config=tune.TuneConfig(max_concurrent_trials=%d),
    run_config=tune.RunConfig(storage_path=sys.argv[2], verbose=0),
)
assert len(tuner.fit()) == len(seconds)
"""


def ideal(seconds: list[float]) -> float:
    """Wall time where each trial starts the moment a slot is free, in their order."""
    free = [0.0] * SLOTS
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def measure(seconds: list[float], command: list[str], environment: dict[str, str], folder: Path) -> dict[str, float]:
    started = time.perf_counter()
    ended = subprocess.run(command, env={**os.environ, **environment}, cwd=folder, capture_output=True, text=True)
    wall = time.perf_counter() - started
    if ended.returncode:
        raise SystemExit(f"{command[:2]}: {ended.stdout[-2000:]}{ended.stderr[-4000:]}")
    extra = wall - ideal(seconds)
    return {"wall_s": round(wall, 1), "extra_s": round(extra, 1), "extra_s_per_trial": round(extra / len(seconds), 2)}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peers", type=Path, required=True, help="a Python with Hydra, its submitit launcher, Ray")
    options.add_argument("--trials", type=int, default=9, help="at most 9: Hydra sends one array, and these end there")
    wanted = options.parse_args()
    chance = random.Random(0)
    seconds = [round(chance.lognormvariate(1.2, 0.8), 1) for _ in range(wanted.trials)]
    found: dict[str, Any] = {"seconds": seconds, "slots": SLOTS, "ideal_s": round(ideal(seconds), 1)}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for file, text in (("hydra_app.py", HYDRA), ("ray_app.py", RAY % (SLOTS, SLOTS))):
            (root / file).write_text(text)
        (root / "ours.py").write_text(OURS.format(root=str(ROOT), tests=str(ROOT / "tests"), slots=SLOTS))
        trials = json.dumps(seconds)
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        ours = [sys.executable, str(root / "ours.py"), trials]
        peer = str(wanted.peers.absolute())
        found["here: ablate"] = measure(seconds, [*ours, str(root / "local"), ""], path, root)
        found["here: Ray Tune"] = measure(seconds, [peer, "ray_app.py", trials, str(root / "ray")], {}, root)
        conf = str(devcluster.up(root / "cluster", Shape(nodes=1, accounting=True)).slurm_conf)
        try:
            found["SLURM: ablate"] = measure(seconds, [*ours, str(root / "slurm"), conf], path, root)
            launcher = {"array_parallelism": SLOTS, "cpus_per_task": 1, "timeout_min": 10, "mem_gb": 1}
            settings = [f"hydra.launcher.{key}={value}" for key, value in launcher.items()]
            sweep = ["-m", "hydra/launcher=submitit_slurm", *settings, f"seconds={','.join(map(str, seconds))}"]
            command = [peer, "hydra_app.py", *sweep]
            found["SLURM: Hydra"] = measure(seconds, command, {"SLURM_CONF": conf}, root)
        finally:
            devcluster.down(root / "cluster")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
