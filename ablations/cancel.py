"""``ablate cancel``: end the jobs of a sweep, or of some of its trials, and start no more of them."""

import json
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from ablations.choice import chosen_trials
from ablations.errors import OK, STOPPED, BadInput
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.labels import counted
from ablations.overview import Overview, read_overview
from ablations.stop_request import request_stop
from ablations.store import store_errors
from ablations.submit import advance_frozen

_ASK_ABOVE = 10
"""Most jobs that are ended without confirmation."""
_PATIENCE = 120.0
"""Seconds to wait until running jobs have saved their state."""


def cancel(sweep: str, trials: Sequence[str], *, store: Path, kill: bool, yes: bool, json_output: bool) -> int:
    """``trials``: keys or their beginnings, or ``ARM:SEED``; none means the whole sweep. Returns an exit code; raises
    ``AblationError``."""
    folder = sweep_folder(sweep, store)
    found = read_overview(folder, store)
    jobs = _left(found, None)
    if found.owner is None and not jobs and (found.submission is None or found.finished):
        raise BadInput(f"no job of {folder.name} is running or waiting")
    chosen = {trial["key"] for trial in chosen_trials(found, trials, states=("running", "waiting"))} if trials else None
    jobs = jobs if chosen is None else len(chosen)
    what = "job" if chosen is None else "trial"
    if jobs > _ASK_ABOVE and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"this would end {counted(jobs, what)}; --yes confirms it")
        if input(f"End {counted(jobs, what)} of {folder.name}? [y/N] ").strip().lower() not in ("y", "yes"):
            return STOPPED
    with store_errors(store):
        for trial in [None] if chosen is None else sorted(chosen):
            request_stop(folder, kill=kill, trial=trial)
    end = time.monotonic() + _PATIENCE
    while True:
        if found.submission is not None:  # again: a look in between may have begun before the request
            advance_frozen(folder, Path(found.submission["code"]), store=store).wait()
        found = read_overview(folder, store)
        left = _left(found, chosen)
        if not left or time.monotonic() >= end:
            break
        time.sleep(0.5)
    if json_output:
        document = {"name": folder.name, f"{what}s": jobs, "left": left, "states": dict(found.status.counts)}
        print(json.dumps(document))
    else:
        again = command("submit" if found.submission else "run", "FILE", store=store)
        rest = f"; {left} have not ended yet" if left else ""
        said = "ended" if chosen is None else "given up"
        print(f"{counted(jobs - left, what)} of {folder.name} {said}{rest}.", end=" ")
        print(f"What is finished is kept; `{again}` continues.")
    return STOPPED if left else OK


def _left(found: Overview, trials: Collection[str] | None) -> int:
    """Number of jobs that run or wait; with ``trials``, of those of them that run."""
    if trials is None:
        return len(found.status.running) + found.status.queued
    return sum(trial["key"] in trials and trial["state"] == "running" for trial in found.trials)
