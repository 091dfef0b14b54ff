"""``ablate cancel``: end what runs of a sweep, and start nothing more of it."""

import json
import sys
import time
from pathlib import Path

from ablations.errors import OK, STOPPED, BadInput
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.overview import read_overview
from ablations.stop_request import request_stop
from ablations.store import store_errors
from ablations.submit import advance_frozen

_ASK_ABOVE = 10
"""Jobs; to end more, somebody has to confirm."""
_PATIENCE = 120.0
"""Seconds to wait until what runs has saved its state."""


def cancel(sweep: str, *, store: Path, kill: bool, yes: bool, json_output: bool) -> int:
    """Returns an exit code; raises ``AblationError``."""
    folder = sweep_folder(sweep, store)
    found = read_overview(folder, store)
    jobs = found.status.queued + len(found.status.running)
    if found.owner is None and not jobs and (found.submission is None or found.finished):
        raise BadInput(f"nothing of {folder.name} runs or waits")
    if jobs > _ASK_ABOVE and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"this would end {jobs} jobs; --yes confirms it")
        if input(f"End {jobs} jobs of {folder.name}? [y/N] ").strip().lower() not in ("y", "yes"):
            return STOPPED
    with store_errors(store):
        request_stop(folder, kill=kill)
    end = time.monotonic() + _PATIENCE
    while True:
        if found.submission is not None:  # again: whoever looked meanwhile may have begun before the request
            advance_frozen(folder, Path(found.submission["code"]), store=store).wait()
        found = read_overview(folder, store)
        if not (found.status.running or found.status.queued) or time.monotonic() >= end:
            break
        time.sleep(0.5)
    left = len(found.status.running) + found.status.queued
    if json_output:
        print(json.dumps({"name": folder.name, "jobs": jobs, "left": left, "states": dict(found.status.counts)}))
    else:
        again = command("submit" if found.submission else "run", "FILE", store=store)
        rest = f"; {left} have not ended yet" if left else ""
        print(f"{jobs - left} jobs of {folder.name} ended{rest}. What is finished is kept; `{again}` goes on.")
    return STOPPED if left else OK
