"""What follows when the last trial of a sweep has ended: the report, MLflow, the summary on the terminal."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ablations.background_sync import BackgroundSync
from ablations.errors import OK, STOPPED, STORE_UNUSABLE, TRIALS_FAILED, StoreError
from ablations.invocation import command
from ablations.labels import counted
from ablations.snapshot import Status
from ablations.store import Damaged, Store, Warn, read_object
from ablations.summary import print_summary, summary_console
from ablations.tracking_marker import DATABASE
from reports.build import build_report
from reports.records import ReportError


def write_report(folder: Path, store: Path) -> dict[str, Any]:
    try:
        return build_report(folder, store=store, output=folder / "report", images=True)
    except ReportError as error:
        raise StoreError(str(error)) from None


def set_unreadable_aside(folder: Path, store: Path, warn: Warn) -> None:
    """Check the files of trials whose scores the last report could not read. Where they are not what was written, the
    record is set aside and the trial is scored again."""
    try:
        unfinished = read_object(folder / "report" / "summary.json")["unfinished"]
        unreadable = [trial["trial"] for trial in unfinished if trial["state"] == "unreadable"]
    except (FileNotFoundError, Damaged, KeyError, TypeError):
        return
    for key in unreadable:
        Store(store).stage("evaluate", key).record(warn, contents=True)


def write_tracking(sync: BackgroundSync, folder: Path, *, store: Path, uri: str | None, digest: str) -> bool:
    """Bring MLflow up to date with the records and the report; if it is already, nothing is imported. Returns whether
    it is up to date.

    If our own database is gone, it is made anew; servers are trusted to keep what they were given.
    """
    state = json.dumps({"uri": uri, "digest": digest})
    path = folder / "synced.json"
    with suppress(OSError):
        if path.read_text() == state and (uri is not None or (store / DATABASE).exists()):
            return True
    with _waiting("Updating MLflow"):
        sync.request()
        sync.finish()
    if sync.problem:
        print(
            f"ablate: MLflow could not be written ({sync.problem}); the records are complete; run the same "
            "command again to retry",
            file=sys.stderr,
        )
        return False
    path.write_text(state)
    return True


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Say what is being waited for, if standard error is a terminal."""
    if sys.stderr.isatty():
        print(f"{what} …", end="\r", file=sys.stderr, flush=True)
    yield
    if sys.stderr.isatty():
        print(" " * (len(what) + 2), end="\r", file=sys.stderr, flush=True)


def say_end(
    summary: dict[str, Any],
    status: Status,
    folder: Path,
    *,
    store: Path,
    tracking_uri: str | None,
    json_output: bool,
    tracked: bool,
) -> int:
    """Print the summary. Returns the command's exit code."""
    page = folder / "report" / "index.html"
    failed = status.counts["failed"] + status.counts["diverged"]
    waiting, cancelled = status.counts["waiting"], status.counts["cancelled"]
    stopped = bool(waiting or cancelled) and not status.problem
    if json_output:
        document = {"name": status.name, "states": dict(status.counts), "report": str(page), "summary": summary}
        print(json.dumps({**document, **({"stopped": True} if stopped else {})}, ensure_ascii=False))
    else:
        console = summary_console()
        print_summary(summary, console=console)
        dashboard = command("dashboard", status.name, store=store, tracking_uri=tracking_uri)
        console.print(f"Report:    {page}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"Dashboard: {dashboard}", soft_wrap=True, highlight=False, markup=False)
    if status.problem:
        print(
            f"ablate: {status.problem}; {counted(status.counts['waiting'], 'trial')} not tried. "
            f"`{command('logs', status.name, store=store)}` shows the failures; "
            "run the same command again once the cause is fixed",
            file=sys.stderr,
        )
    if stopped:
        left = [f"{counted(waiting, 'trial')} left"] * bool(waiting) + [f"{cancelled} cancelled"] * bool(cancelled)
        print(f"Stopped: {' and '.join(left)}; run or submit the sweep again to continue.", file=sys.stderr)
    if failed or status.problem:
        return TRIALS_FAILED
    if stopped:
        return STOPPED
    return OK if tracked else STORE_UNUSABLE
