"""``ablate watch``: the live table of a sweep that another process runs, and the report at its end.

A submitted sweep is carried on meanwhile: jobs that died without a word are noticed here first. Nothing depends on
watching, and Ctrl-C ends only that.
"""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from ablations.background_sync import BackgroundSync
from ablations.conclude import say_end, write_report, write_tracking
from ablations.errors import STOPPED
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.overview import Overview, read_overview
from ablations.progress import Display, open_display
from ablations.snapshot import Status
from ablations.store import Store
from ablations.submit import advance_frozen
from ablations.turn import wait_for_sweep
from slurm.queue import Pace

_TICK = 1.0
"""Seconds between two looks at the folders."""
_LOOKS_APART = 3.0
"""Time between two looks at the cluster, in multiples of the profile's ``poll_seconds``; more and more while nothing
changes."""


def watch(sweep: str, *, store: Path, tracking_uri: str | None, json_output: bool, quiet: bool) -> int:
    """Show the sweep until nothing of it is left to do. Returns an exit code; raises ``AblationError``."""
    folder = sweep_folder(sweep, store)
    sync = BackgroundSync(folder, store=store, uri=tracking_uri)
    try:
        return _watch(folder, store, sync, tracking_uri=tracking_uri, json_output=json_output, quiet=quiet)
    finally:
        sync.close()


def _watch(
    folder: Path, store: Path, sync: BackgroundSync, *, tracking_uri: str | None, json_output: bool, quiet: bool
) -> int:
    try:
        with open_display(quiet=quiet) as display:
            status = _follow(folder, store, sync, display)
    except KeyboardInterrupt:
        print(f"Stopped watching; its jobs go on. `{command('watch', folder.name, store=store)}` watches again.")
        return STOPPED
    if status is None:
        print(f"{folder.name} is not running; `{command('status', folder.name, store=store)}` says how far it is.")
        return STOPPED
    with wait_for_sweep(Store(store), folder.name):
        summary = write_report(folder, store)
        tracked = write_tracking(sync, folder, store=store, uri=tracking_uri, digest=summary["digest"])
    return say_end(
        summary, status, folder, store=store, tracking_uri=tracking_uri, json_output=json_output, tracked=tracked
    )


def _follow(folder: Path, store: Path, sync: BackgroundSync, display: Display) -> Status | None:
    """Show the sweep until it is finished, and return its status; ``None`` if nobody runs it any more."""
    look: subprocess.Popen[bytes] | None = None
    pace: Pace | None = None
    told: set[str] | None = None
    looked: Mapping[str, int] | None = None
    try:
        while True:
            found = read_overview(folder, store)
            told = _tell(found, told, display)
            display.update(found.status)
            if found.submission is not None and found.status.running:  # `ablate run` sees to its own
                sync.now_and_then()
            if look is None or look.poll() is not None:
                if found.finished:
                    return found.status
                if found.submission is None and found.owner is None:
                    return None
                if found.submission is not None:
                    pace = pace or Pace(_LOOKS_APART * found.submission["poll_seconds"])
                    if time.monotonic() >= pace.due:
                        look = _look(folder, found, store)
                        pace.looked(time.monotonic(), changed=found.status.counts != looked)
                        looked = found.status.counts
            time.sleep(_TICK)
    finally:
        if look is not None:
            look.wait()  # it holds the sweep, and is soon done


def _look(folder: Path, found: Overview, store: Path) -> "subprocess.Popen[bytes]":
    assert found.submission is not None
    return advance_frozen(folder, Path(found.submission["code"]), store=store)


def _tell(found: Overview, told: set[str] | None, display: Display) -> set[str]:
    """Say which trials have ended since the last call; those that had ended at the beginning are not mentioned."""
    ended = {trial["key"] for trial in found.trials if trial["state"] not in ("running", "waiting")}
    for trial in found.trials:
        if told is not None and trial["key"] in ended - told:
            failure = trial["failure"]
            score = "" if trial["objective"] is None else f", {trial['objective']:.4g}"
            why = f" in {failure['stage']} ({failure['class']}): {failure['error']}" if failure else score
            display.say(f"{found.labels[trial['arm']]} · seed {trial['seed']}: {trial['state']}{why}")
    return ended
