"""How long the report of a very large sweep takes, and how much memory, beside what a user would write by hand.

    python benchmarks/report.py [--trials 1000 10000]

Writes the records of a grid of made-up scores (five seeds, three tasks at 0, 4 and 8 shots, 64 items a task) into a
temporary folder, then makes its report, without images, in a process of its own. With ``--mlflow`` (up to a few
thousand trials) the same trials go to MLflow first, and the notebook's way is timed on them: ``mlflow.search_runs``, a
pandas group-by, a Plotly page of means without any statistics. Prints JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
SEEDS = range(5)
REPORT = """
import sys
from pathlib import Path
from reports.build import build_report
folder, store = map(Path, sys.argv[1:])
build_report(folder, store=store, output=folder / "report", images=False)
"""
NOTEBOOK = """
import sys
import mlflow, plotly.express
folder, store = sys.argv[1:]
mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
of_trials = "tags.`ablations.kind` = 'trial'"
runs = mlflow.search_runs(experiment_names=["large"], filter_string=of_trials, max_results=50_000)
means = runs.groupby("tags.ablations.arm")["metrics.eval/colour/value/4"].agg(["mean", "std"]).reset_index()
page = plotly.express.bar(means, x="tags.ablations.arm", y="mean", error_y="std")
page.write_html(f"{folder}/notebook.html")
"""


def write(store: Path, trials: int) -> Path:
    """The records of a grid: two axes, as square as it can be."""
    sys.path.insert(0, str(TESTS))
    from report_records import ArmRecord, axis, write_sweep

    count = trials // len(SEEDS)
    rows = next(number for number in range(int(count**0.5), 0, -1) if count % number == 0)
    rates = {f"lr {row}": {"optimisation.lr": 0.001 * (row + 1)} for row in range(rows)}
    steps = {f"{column} steps": {"training.steps": 10 * (column + 1)} for column in range(count // rows)}
    arms = [
        ArmRecord(
            label=f"{rate}, {step}",
            values={"rate": rate, "steps": step},
            settings={**rates[rate], **steps[step]},
            scores={"0": 40.0, "4": 60.0, "8": 62.0, "text_core": 50.0},
            baseline=(row, column) == (0, 0),
        )
        for row, rate in enumerate(rates)
        for column, step in enumerate(steps)
    ]
    axes = [axis("rate", rates), axis("steps", steps)]
    return write_sweep(store, "large", arms, seeds=SEEDS, axes=axes, items=64, seed_spread=2.0)


def timed(program: str, folder: Path, store: Path) -> dict[str, float]:
    """Seconds and MiB at most, of a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program, str(folder), str(store)], check=True)
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child so far
    return {"seconds": round(seconds, 2), "mebibytes": round(most)}


def measure(trials: int, *, mlflow: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        store = Path(place)
        folder = write(store, trials)
        found: dict[str, Any] = {"trials": trials, "report": timed(REPORT, folder, store)}
        found["again_seconds"] = timed(REPORT, folder, store)["seconds"]
        found["page_mebibytes"] = round((folder / "report" / "index.html").stat().st_size / 2**20, 1)
        if mlflow:
            command = [sys.executable, "-m", "ablations", "sync", "large", "--store", str(store)]
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found["sync_seconds"] = round(time.perf_counter() - started, 2)
            found["notebook"] = timed(NOTEBOOK, folder, store)
        return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    options.add_argument("--mlflow", action="store_true")
    wanted = options.parse_args()
    print(json.dumps([measure(trials, mlflow=wanted.mlflow) for trials in wanted.trials], indent=1))


if __name__ == "__main__":
    main()
