"""How late a running trial's points are in MLflow, and what that takes from the trainings.

    python benchmarks/tracking.py [--seconds 90]

Eight trials write a line of their spools every half second, as trainings of 50 ms a step do, while the process that
``ablate run`` keeps beside itself sends them to a database of its own, as often as it does there. A point's lateness is
the time from the line in the spool until the database has it. What a training itself pays is the line. Prints JSON.
"""

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from ablations.background_sync import BackgroundSync
from ablations.lease import acquire
from mm1core import spool

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from tracked_folder import TrackedFolder, metrics

STEP_SECONDS, STEPS_A_LINE = 0.05, 10
LOOK = 0.25
"""Seconds between two looks at the database."""


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        line = line_seconds(Path(place, "spool.jsonl"))
        made = TrackedFolder(Path(place, "store"))
        lateness, start, rest = follow(made, options.seconds)
    print(
        json.dumps(
            {
                "a_line_in_percent_of_its_steps": round(100 * line / (STEP_SECONDS * STEPS_A_LINE), 4),
                "points": len(lateness),
                "late_s_median": round(statistics.median(lateness), 1),
                "late_s_worst": round(max(lateness), 1),
                "sync_start_cpu_s": round(start, 1),
                "sync_percent_of_one_core_after_that": round(100 * rest, 1),
            },
            indent=1,
        )
    )


def line_seconds(path: Path) -> float:
    """What one line of a spool takes, the median of many."""
    times = []
    for step in range(2000):
        started = time.perf_counter()
        spool.append(path, step, metrics(path, "pretrain", 1))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def follow(made: TrackedFolder, seconds: float) -> tuple[list[float], float, float]:
    """Lateness in seconds of every point that was seen to come; CPU seconds of the sync process until its first points
    were there (imports, making the database), and the part of a core it took from then on."""
    end = time.monotonic() + seconds
    writers = [threading.Thread(target=train, args=(made.spool(trial, "pretrain"), end)) for trial in made.trials]
    holder = acquire(made.folder)
    sync = BackgroundSync(made.folder, store=made.store, uri=None)
    with closing(sync):
        for writer in writers:
            writer.start()
        seen: set[tuple[str, str, int]] = set()
        late: list[float] = []
        began, start = 0.0, 0.0
        while time.monotonic() < end:
            sync.now_and_then()
            now = time.time()
            for run, metric, step, stamp in there(made.store / "mlflow.db"):
                if (run, metric, step) not in seen:
                    seen.add((run, metric, step))
                    late.append(now - stamp / 1000)
            if late and not began and sync._process is not None:
                began, start = time.monotonic(), cpu_seconds(sync._process.pid)
            time.sleep(LOOK)
        rest = (cpu_seconds(sync._process.pid) - start) / (time.monotonic() - began) if sync._process else 0.0
        for writer in writers:
            writer.join()
    holder.release()
    return late, start, rest


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def train(path: Path, end: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    step = 0
    while time.monotonic() < end:
        step += STEPS_A_LINE
        spool.append(path, step, metrics(path, "pretrain", step))
        time.sleep(STEP_SECONDS * STEPS_A_LINE)


def there(database: Path) -> list[tuple[str, str, int, int]]:
    """Run, metric, step and time in milliseconds of every point."""
    if not os.path.exists(database):
        return []
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT run_uuid, key, step, timestamp FROM metrics").fetchall()
    return []


if __name__ == "__main__":
    main()
