"""How long it takes to start the command and to plan a grid of 10,000 trials.

    python benchmarks/planning.py

Wall-clock seconds of whole processes, the best and the median of several runs.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

GRID = """
name: ten_thousand
axes:
  connector.kind: [average_pool, attention_pool, c_abstractor]
  image.resolution, connector.num_tokens: [[16, 4], [24, 4], [48, 4], [48, 9]]
  optimisation.learning_rate: [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 7e-3]
  data.answer_weight: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  decoder.layers: [1, 2, 3, 4]
design: grid
constraints: ["connector.num_tokens <= image.num_patches"]
seeds: [0, 1, 2]
"""
TRIALS = 3 * 4 * 7 * 10 * 4 * 3


def seconds(*arguments: str, runs: int) -> list[float]:
    """Of ``ablate`` with these arguments."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([Path(sys.executable).with_name("ablate"), *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return times


def main() -> None:
    """Print one line for each measurement."""
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder, "grid.yaml")
        grid.write_text(GRID)
        store = str(Path(folder, "store"))
        for name, arguments, runs in (
            ("ablate --help", ("--help",), 10),
            ("ablate plan sweeps/quickstart.yaml", ("plan", "sweeps/quickstart.yaml", "--store", store), 5),
            (f"ablate plan of {TRIALS:,} trials", ("plan", str(grid), "--store", store), 5),
            (f"ablate plan --json of {TRIALS:,} trials", ("plan", str(grid), "--store", store, "--json"), 3),
        ):
            times = seconds(*arguments, runs=runs)
            print(f"{name:45} best {min(times):5.2f} s   median {median(times):5.2f} s   ({runs} runs)", flush=True)


if __name__ == "__main__":
    main()
