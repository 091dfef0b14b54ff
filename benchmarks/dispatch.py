"""How many trials a second the dispatcher brings through, and how soon it reacts to a job that ended.

    python benchmarks/dispatch.py [--trials 200] [--workers 1] [--libraries] [--core]

Every trial is one stage that does nothing, with all the rest: a forked process, a lease, a record and a trial's record
brought to the disk. ``--libraries`` has the fork server import torch and the others first, as ``ablate run`` does;
children of a larger process take longer to fork. ``--core`` keeps everything on one core. Prints JSON.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ablations.arms import Arm
from ablations.dispatch import dispatch
from ablations.identity import stage_key
from ablations.plan import Plan, Trial
from ablations.progress import open_display
from ablations.stages import Stage, StageConfig
from ablations.store import Store
from ablations.sweep import Grid, Objective, Sweep
from mm1core.config import Config
from mm1core.stages import KINDS, StageKind
from slurm.launcher import Resources
from slurm.local import LocalLauncher

LIBRARIES = ["torch", "lightning.pytorch", "transformers", "tokenizers"]


@dataclass(frozen=True, kw_only=True)
class NothingStage:
    number: int


def run(
    stage: NothingStage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]
) -> dict[str, Any]:
    return {"metrics": {"score": float(stage.number)}}


KINDS["nothing"] = StageKind(config=NothingStage, version=1, target="benchmarks.dispatch:run")


def plan(trials: int) -> Plan:
    """As many arms, each with one trial of one stage."""
    config = Config()
    arms = [
        Arm(key=f"{i:012x}", label=str(i), values={}, set={}, varied=(), baseline=False, config=config)
        for i in range(trials)
    ]
    made = []
    for number, arm in enumerate(arms):
        stage_config = NothingStage(number=number)
        key = stage_key(kind="nothing", version=1, config=stage_config, inputs={})
        stage = Stage(kind="nothing", key=key, version=1, config=cast(StageConfig, stage_config), inputs={})
        made.append(Trial(key=key, arm=arm, seed=0, stages=(stage,)))
    sweep = Sweep(
        name="nothing",
        title="",
        document=cast(Any, None),
        settings={},
        axes=(),
        design=Grid(),
        objective=Objective(metric="score"),
    )
    return Plan(sweep=sweep, arms=tuple(arms), trials=tuple(made))


class Watched(LocalLauncher):
    """Notes how long it takes from a job's end, as the launcher hears of it, to the start of the next one."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reactions: list[float] = []
        self._ended: float | None = None

    def wait(self, timeout: float) -> None:
        super().wait(timeout)
        self._ended = time.perf_counter()

    def cpu_seconds(self) -> float:
        """Of this process, the fork server and its children that ended."""
        assert self._server is not None
        stat = Path(f"/proc/{self._server.process.pid}/stat").read_text().rpartition(")")[2].split()
        return time.process_time() + sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")

    def submit(self, job: Any) -> None:
        super().submit(job)
        if self._ended is not None:
            self.reactions.append(time.perf_counter() - self._ended)
            self._ended = None


def measure(trials: int, *, workers: int, libraries: bool) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, open_display(quiet=True) as display:
        store = Store(Path(folder))
        store.sweep("nothing").mkdir(parents=True)
        launcher = Watched(
            modules=[*(LIBRARIES if libraries else []), "ablations.job", "benchmarks.dispatch"],
            capacity=workers,
            log=Path(folder) / "server.log",
        )

        def dispatch_all(planned: Plan) -> float:
            started = time.perf_counter()
            ended = dispatch(
                planned,
                store=store,
                launcher=launcher,
                resources=Resources(),
                provenance=dict,
                display=display,
                taken_over=threading.Event(),
            )
            assert ended.status.counts["done"] == len(planned.trials), ended
            return time.perf_counter() - started

        try:
            start = dispatch_all(plan(1))
            cpu = launcher.cpu_seconds()
            seconds = dispatch_all(plan(trials))
            cpu = launcher.cpu_seconds() - cpu
            again = dispatch_all(plan(trials))
        finally:
            launcher.close()
    return {
        "start_s": round(start, 2),
        "trials": trials - 1,
        "seconds": round(seconds, 2),
        "trials_per_second": round((trials - 1) / seconds, 1),
        "cpu_ms_per_trial": round(1000 * cpu / (trials - 1), 1),
        "reaction_ms_median": round(1000 * statistics.median(launcher.reactions), 2),
        "reaction_ms_worst": round(1000 * max(launcher.reactions), 2),
        "all_recorded_s": round(again, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--libraries", action="store_true")
    parser.add_argument("--core", action="store_true")
    arguments = parser.parse_args()
    if arguments.core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(json.dumps(measure(arguments.trials, workers=arguments.workers, libraries=arguments.libraries)))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.dispatch import main as registered_main  # under the name that the jobs import

    registered_main()
