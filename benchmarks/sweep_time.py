"""Where the time of a sweep goes: training and evaluation, or all the rest.

    python benchmarks/sweep_time.py [sweeps/quickstart.yaml] [--workers 2] [--keep STORE]

Runs the sweep by ``ablate run`` in a store of its own, and once more. Of the wall-clock time it tells in which part
nothing trains or evaluates; of the cores' time, what went into steps (as timed in the spools), into evaluation, into
the start and end of trainings, and into none of them: imports, the world, MLflow, the report, and cores for which no
job is left. Prints JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ablations.json_lines import read_lines

TRAINED = ("encoder", "pretrain")


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", nargs="?", default="sweeps/quickstart.yaml")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="an empty folder for the store; it stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = options.keep or Path(folder, "store")
        first = timed_run(options.sweep, store, options.workers)
        again = timed_run(options.sweep, store, options.workers)
        print(
            json.dumps({**shares(list(records(store)), first, options.workers, store), "second_run_s": again}, indent=1)
        )


def timed_run(sweep: str, store: Path, workers: int) -> float:
    """Wall-clock seconds of the whole command, MLflow and the report included."""
    command = [Path(sys.executable).with_name("ablate"), "run", sweep, "--quiet", "--store", store]
    started = time.perf_counter()
    subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL)
    return round(time.perf_counter() - started, 2)


def records(store: Path) -> Iterator[dict[str, Any]]:
    """Of all stages."""
    for path in store.glob("*/*/record.json"):
        if path.parts[-3] != "sweeps":
            yield json.loads(path.read_bytes())


def shares(stages: list[dict[str, Any]], wall: float, workers: int, store: Path) -> dict[str, Any]:
    """Seconds, and parts of the cores' time in percent."""
    working = [stage for stage in stages if stage["kind"] in (*TRAINED, "evaluate")]
    training = sum(step_seconds(store, stage) for stage in stages if stage["kind"] in TRAINED)
    evaluation = sum(stage["provenance"]["seconds"] for stage in stages if stage["kind"] == "evaluate")
    inside = sum(stage["provenance"]["seconds"] for stage in working)
    whole = wall * workers
    return {
        "wall_s": wall,
        "nothing_trains_or_evaluates_percent": round(100 * (1 - covered(working) / wall), 1),
        "cores": {
            "training_steps_percent": round(100 * training / whole, 1),
            "evaluation_percent": round(100 * evaluation / whole, 1),
            "starting_and_saving_percent": round(100 * (inside - training - evaluation) / whole, 1),
            "without_such_a_stage_percent": round(100 * (1 - inside / whole), 1),
        },
    }


def covered(stages: list[dict[str, Any]]) -> float:
    """Seconds in which at least one of them was worked on."""
    total, until = 0.0, 0.0
    for started, finished in sorted((one["provenance"]["started"], one["provenance"]["finished"]) for one in stages):
        total += max(0.0, finished - max(started, until))
        until = max(until, finished)
    return total


def step_seconds(store: Path, stage: dict[str, Any]) -> float:
    """Of all steps of a training, from the rates in its spool."""
    total, done = 0.0, 0
    for line in read_lines(store / stage["kind"] / stage["key"] / "work" / "spool.jsonl"):
        seconds = next((value for name, value in line["metrics"].items() if name.endswith("/step_seconds")), None)
        if seconds is not None:
            total += seconds * (line["step"] - done)
            done = line["step"]
    return total


if __name__ == "__main__":
    main()
