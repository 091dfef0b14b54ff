"""How long ``ablate status`` takes on a sweep of 5,040 trials: the whole command, as a user waits for it.

    taskset -c 1 python benchmarks/status.py [--runs 11] [--store FOLDER]

Makes the folders of two such sweeps: ``ended``, with every trial done, failed, diverged or pruned, and ``submitted``,
where half of the trials have ended, forty run and the rest waits in a cluster's queue. Prints JSON: for each sweep, as
text and with ``--json``, wall-clock and CPU milliseconds of the process, median and best; beside them those of a Python
that does nothing, and of ``ablate --help``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from ablations.attempts import Attempt, AttemptsFile
from ablations.backlog import Work, job_name
from ablations.ended import EndedFile
from ablations.lease import Lease, acquire
from ablations.plan import Plan, Trial, jobs, make_plan, save_plan
from ablations.running import RunningFile
from ablations.store import Store, write_json
from ablations.sweep_file import read_sweep

GRID = """
name: {name}
set: {{optimisation.optimizer: adamw}}
axes:
  connector.kind: [average_pool, attention_pool, c_abstractor]
  image.resolution, connector.num_tokens: [[16, 4], [24, 4], [48, 4], [48, 9]]
  optimisation.learning_rate: [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3]
  optimisation.weight_decay: [0, 1e-3, 2e-3, 3e-3, 4e-3]
  decoder.layers: [1, 2, 3, 4]
design: grid
constraints: ["connector.num_tokens <= image.num_patches"]
seeds: [0, 1, 2]
resources: {{gpus: 1}}
"""
RUNNING = 40
STATES = ("done", "done", "done", "done", "done", "done", "pruned", "diverged", "failed", "done")


def make(store: Store, name: str, *, share_ended: float) -> list[Lease]:
    """The folders of a sweep. Returns the leases of the stages that run."""
    file = store.root / f"{name}.yaml"
    file.write_text(GRID.format(name=name))
    plan = make_plan(read_sweep(file))
    folder = store.sweep(name)
    folder.mkdir(parents=True)
    save_plan(plan, folder)
    ended = round(len(plan.trials) * share_ended)
    attempts = AttemptsFile(folder)
    attempts.begin()
    endings = EndedFile(folder)
    for number, trial in enumerate(plan.trials[:ended]):
        note_end(trial, STATES[number % len(STATES)], attempts, endings)
    leases: list[Lease] = []
    if ended < len(plan.trials):
        leases = list_jobs(store, plan, plan.trials[ended:], folder)
    return leases


def note_end(trial: Trial, state: str, attempts: AttemptsFile, endings: EndedFile) -> None:
    stage, failure = trial.stages[-2], None
    if state in ("failed", "diverged"):
        text = "RuntimeError: a matrix of another shape was expected here, [24, 96] and not [24, 64]"
        failure = {"class": "code_error", "error": text, "stage": f"pretrain/{stage.key}", "log": f"trials/{trial.key}"}
    kinds = ("evaluate", "pretrain") if state == "done" else ()
    attempts.note(
        Attempt(
            job=f"trial-{trial.key}",
            number=1,
            outcome=state if state in ("done", "pruned") else "failed",
            kinds=kinds,
            stage=stage.key if failure else None,
            failure=failure and {**failure, "traceback_tail": "  File ...\n" * 20},
        )
    )
    record = {"trial": trial.key, "arm": trial.arm.key, "seed": trial.seed, "state": state, "seconds": 1234.567}
    endings.note({**record, "objective": 0.123456789 if state == "done" else None, "failure": failure})


def list_jobs(store: Store, plan: Plan, trials: tuple[Trial, ...], folder: Path) -> list[Lease]:
    works = []
    for number, job in enumerate(one for one in jobs(trials, lambda stage: False) if one.trial is not None):
        works.append(Work(job=job, name=job_name(job), order=(1, number), missing=set(), started=time.time()))
    RunningFile(folder).update(works[: RUNNING // 2], works[RUNNING // 2 :])
    about = {"profile": "ours", "poll_seconds": 30.0, "gpus": 1, "code": str(store.root), "submitted": time.time()}
    write_json(folder / "submitted.json", about)
    write_json(folder / "look.json", {"looked": time.time(), "finished": False, "problem": "", "unsent": 0})
    leases = []
    for work in works[:RUNNING]:  # half of them began after the last look
        for stage in work.job.stages[:1]:
            store.stage(stage.kind, stage.key).work.mkdir(parents=True)
            leases.append(acquire(store.stage(stage.kind, stage.key).path, beat=3600.0))
    return leases


def measure(command: list[str | Path], runs: int) -> dict[str, float]:
    walls, cpus = [], []
    for _ in range(runs):
        started, before = time.perf_counter(), _cpu_seconds()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        walls.append(1000 * (time.perf_counter() - started))
        cpus.append(1000 * (_cpu_seconds() - before))
    found = {"wall_ms": median(walls), "wall_best_ms": min(walls), "cpu_ms": median(cpus), "cpu_best_ms": min(cpus)}
    return {name: round(value) for name, value in found.items()}


def _cpu_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=11)
    options.add_argument("--store", type=Path, help="An empty folder to keep; else a temporary one.")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = Store(wanted.store or Path(temporary))
        store.prepare()
        make(store, "ended", share_ended=1.0)
        leases = make(store, "submitted", share_ended=0.5)
        ablate = Path(sys.executable).with_name("ablate")
        found: dict[str, Any] = {"python": measure([sys.executable, "-c", ""], wanted.runs)}
        found["ablate --help"] = measure([ablate, "--help"], wanted.runs)
        for name in ("ended", "submitted"):
            for more in ([], ["--json"]):
                command = [ablate, "status", name, "--store", store.root, *more]
                found[" ".join(["status", name, *more])] = measure(command, wanted.runs)
        for lease in leases:
            lease.release()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
