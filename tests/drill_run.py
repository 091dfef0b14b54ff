"""Runs the drill sweep of ``tally`` through the whole dispatcher, as ``ablate run`` does with a sweep file.

Arguments: the store, a sweep's name, and JSON with the arguments of ``tally.drill``, ``faults`` (a stage's name to its
fault) and ``workers``. Prints the trials by state; exits as ``ablate`` would.
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
from slurm.launcher import Resources
from slurm.local import LocalLauncher


def with_faults(plan: Plan, faults: dict[str, str]) -> Plan:
    """The same plan, with equal keys: what goes wrong is no part of a stage's identity."""

    def broken(stage: Any) -> Any:
        fault = faults.get(stage.config.name)
        return replace(stage, config=replace(stage.config, fault=fault)) if fault else stage

    return replace(plan, trials=tuple(replace(trial, stages=tuple(map(broken, trial.stages))) for trial in plan.trials))


def main(root: str, name: str, options: str) -> int:
    settings = json.loads(options)
    faults, workers = settings.pop("faults", {}), settings.pop("workers", 2)
    plan = with_faults(drill(**settings), faults)
    plan = replace(plan, sweep=replace(plan.sweep, name=name))
    store = Store(Path(root))
    try:
        store.prepare()
        with hold_sweep(store, name) as taken_over, open_display(quiet=False) as display:
            write_json(store.sweep(name) / "plan.json", plan_document(plan))
            launcher = LocalLauncher(
                modules=["tally", "ablations.job"], capacity=workers, log=store.sweep(name) / "server.log"
            )
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
