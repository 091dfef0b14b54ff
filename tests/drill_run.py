"""Runs the drill sweep of ``tally`` through the whole dispatcher, as ``ablate run`` does with a sweep file.

Arguments: the store, a sweep's name, and JSON with the arguments of ``tally.drill``, ``faults`` (a stage's name to its
fault), ``workers``, and ``slurm_conf`` to run on that cluster. Prints the trials by state; exits as ``ablate`` would.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from tally import drill

from ablations.dispatch import dispatch, hold_sweep
from ablations.errors import OK, STOPPED, TRIALS_FAILED, AblationError
from ablations.plan import Plan, plan_document
from ablations.progress import open_display
from ablations.store import Store, write_json
from slurm.cluster import ClusterLauncher
from slurm.commands import Slurm
from slurm.launcher import Launcher, Resources
from slurm.local import LocalLauncher
from slurm.profile import Profile
from slurm.script import Site


def with_faults(plan: Plan, faults: dict[str, str]) -> Plan:
    """The same plan, with equal keys: what goes wrong is no part of a stage's identity."""

    def broken(stage: Any) -> Any:
        fault = faults.get(stage.config.name)
        return replace(stage, config=replace(stage.config, fault=fault)) if fault else stage

    return replace(plan, trials=tuple(replace(trial, stages=tuple(map(broken, trial.stages))) for trial in plan.trials))


def open_launcher(folder: Path, *, workers: int, slurm_conf: str | None) -> Launcher:
    if slurm_conf is None:
        return LocalLauncher(modules=["tally", "ablations.job"], capacity=workers, log=folder / "server.log")
    python = f"{sys.executable} {Path(__file__).with_name('tally_python.py')}"
    return ClusterLauncher(
        Site(profile=Profile(poll_seconds=0.2, python=python), title="drill"),
        folder=folder / "cluster",
        slurm=Slurm({"SLURM_CONF": slurm_conf}),
    )


def main(root: str, name: str, options: str) -> int:
    settings = json.loads(options)
    faults, workers = settings.pop("faults", {}), settings.pop("workers", 2)
    slurm_conf = settings.pop("slurm_conf", None)
    plan = with_faults(drill(**settings), faults)
    plan = replace(plan, sweep=replace(plan.sweep, name=name))
    store = Store(Path(root))
    try:
        store.prepare()
        with hold_sweep(store, name) as taken_over, open_display(quiet=False) as display:
            write_json(store.sweep(name) / "plan.json", plan_document(plan))
            launcher = open_launcher(store.sweep(name), workers=workers, slurm_conf=slurm_conf)
            try:
                ended = dispatch(
                    plan,
                    store=store,
                    launcher=launcher,
                    resources=Resources(),
                    provenance=lambda: {"commit": None},
                    display=display,
                    taken_over=taken_over,
                )
            finally:
                launcher.close()
    except AblationError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"counts": ended.status.counts, "problem": ended.status.problem}), flush=True)
    if ended.stopped:
        return STOPPED
    return TRIALS_FAILED if ended.status.counts["failed"] + ended.status.counts["diverged"] else OK


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
