"""``ablate run``: dispatches a sweep until every trial has ended, then writes MLflow and the report.

After Ctrl-C, and after any kill, the same command goes on. A run with nothing left to do only reads.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from ablations.data_files import RememberedDigests
from ablations.dispatch import Ended, dispatch, hold_sweep
from ablations.errors import OK, STOPPED, TRIALS_FAILED, StoreError
from ablations.invocation import command
from ablations.launchers import on_cluster, on_this_machine
from ablations.plan import Plan, make_plan, plan_document
from ablations.profile_file import Cluster, find_cluster
from ablations.progress import Display, open_display
from ablations.provenance import provenance
from ablations.search import SearchDriver
from ablations.snapshot import Status
from ablations.store import Store, store_errors, write_text
from ablations.summary import print_summary, summary_console
from ablations.sweep import Search, Sweep
from ablations.sweep_file import read_sweep
from ablations.sync import BackgroundSync
from ablations.tracking_marker import DATABASE
from reports.build import build_report
from reports.records import ReportError

_SYNC_EVERY = 15.0
"""Seconds between two writings of MLflow while jobs run."""


def run_sweep(
    sweep_path: Path,
    *,
    store: Path,
    workers: int | None,
    tracking_uri: str | None,
    json_output: bool,
    quiet: bool,
    profile: str | None = None,
) -> int:
    """Run the sweep to its end, with ``profile`` on that cluster. Returns an exit code; raises ``AblationError``."""
    cluster = None if profile is None else find_cluster(profile)
    digests = RememberedDigests(store)
    sweep = read_sweep(sweep_path, digest_of=digests)
    # Before anything is written, so that a sweep that cannot be planned leaves no trace.
    plan = None if isinstance(sweep.design, Search) else make_plan(sweep)
    place = Store(store)
    place.prepare()
    digests.save()
    folder = place.sweep(sweep.name)
    with hold_sweep(place, sweep.name) as taken_over:
        with store_errors(store):
            _write_changed(folder / "sweep.yaml", sweep.document.file.read_text(encoding="utf-8"))
        sync = BackgroundSync(folder, store=store, uri=tracking_uri)
        try:
            with open_display(quiet=quiet) as display:
                ended = _dispatch(sweep, plan, place, cluster, workers, display, taken_over, sync)
            if ended.stopped:
                where = [] if profile is None else ["--profile", profile]
                again = command("run", str(sweep_path), *where, store=store, tracking_uri=tracking_uri)
                return _say_stopped(again, ended.status, json_output=json_output)
            summary = _report(folder, store)
            _write_tracking(sync, folder, store=store, uri=tracking_uri, digest=summary["digest"])
        finally:
            sync.close()
    return _conclude(summary, ended.status, folder, store=store, tracking_uri=tracking_uri, json_output=json_output)


def _dispatch(
    sweep: Sweep,
    plan: Plan | None,
    store: Store,
    cluster: Cluster | None,
    workers: int | None,
    display: Display,
    taken_over: threading.Event,
    sync: BackgroundSync,
) -> Ended:
    folder = store.sweep(sweep.name)

    def save(plan: Plan) -> None:
        _write_changed(folder / "plan.json", json.dumps(plan_document(plan), ensure_ascii=False) + "\n")

    synced = time.monotonic()

    def sync_now_and_then(status: Status) -> None:
        nonlocal synced
        if status.running and time.monotonic() - synced > _SYNC_EVERY:
            synced = time.monotonic()
            sync.request()

    with store_errors(store.root):
        search = None
        if plan is None:
            search = SearchDriver(sweep, folder, store=store.root, save=save, warn=display.warn)
            plan = search.plan()
        save(plan)
    if cluster is None:
        launcher, resources = on_this_machine(sweep, plan, workers=workers, folder=folder, warn=display.warn)
    else:
        launcher, resources = on_cluster(sweep, cluster, workers=workers, folder=folder)
    try:
        return dispatch(
            plan,
            store=store,
            launcher=launcher,
            resources=resources,
            provenance=cache(lambda: provenance(sys.argv)),
            display=display,
            taken_over=taken_over,
            search=search,
            tick=sync_now_and_then,
        )
    finally:
        launcher.close()


def _write_changed(path: Path, text: str) -> None:
    """Equal content is not written again: its time tells when it changed."""
    with suppress(FileNotFoundError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_text(path, text)


def _report(folder: Path, store: Path) -> dict[str, Any]:
    try:
        return build_report(folder, store=store, output=folder / "report", images=True)
    except ReportError as error:
        raise StoreError(str(error)) from None


def _write_tracking(sync: BackgroundSync, folder: Path, *, store: Path, uri: str | None, digest: str) -> None:
    """Bring MLflow up to date with the records and the report; nothing is imported where it is already.

    A database of our own that is gone is made anew; servers are believed to keep what they were given.
    """
    state = json.dumps({"uri": uri, "digest": digest})
    path = folder / "synced.json"
    with suppress(OSError):
        if path.read_text() == state and (uri is not None or (store / DATABASE).exists()):
            return
    with _waiting("Writing MLflow"):
        sync.request()
        sync.finish()
    if sync.problem:
        print(
            f"ablate: MLflow could not be written ({sync.problem}); the records are whole, and running the same "
            "command again tries once more",
            file=sys.stderr,
        )
    else:
        path.write_text(state)


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Say what is waited for, where somebody watches."""
    if sys.stderr.isatty():
        print(f"{what} …", end="\r", file=sys.stderr, flush=True)
    yield
    if sys.stderr.isatty():
        print(" " * (len(what) + 2), end="\r", file=sys.stderr, flush=True)


def _say_stopped(again: str, status: Status, *, json_output: bool) -> int:
    left = status.counts["waiting"]
    if json_output:
        print(json.dumps({"name": status.name, "states": dict(status.counts), "stopped": True}))
    print(
        f"Stopped: {status.ended} of {status.total} trials have ended, {left} are left. `{again}` continues.",
        file=sys.stderr,
    )
    return STOPPED


def _conclude(
    summary: dict[str, Any],
    status: Status,
    folder: Path,
    *,
    store: Path,
    tracking_uri: str | None,
    json_output: bool,
) -> int:
    page = folder / "report" / "index.html"
    if json_output:
        document = {"name": status.name, "states": dict(status.counts), "report": str(page), "summary": summary}
        print(json.dumps(document, ensure_ascii=False))
    else:
        console = summary_console()
        print_summary(summary, console=console)
        dashboard = command("dashboard", status.name, store=store, tracking_uri=tracking_uri)
        console.print(f"Report:    {page}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"Dashboard: {dashboard}", soft_wrap=True, highlight=False, markup=False)
    if status.problem:
        print(
            f"ablate: {status.problem}; {status.counts['waiting']} trials were not tried. "
            f"`{command('logs', status.name, store=store)}` shows the failures; "
            "run the same command again when the cause is gone",
            file=sys.stderr,
        )
    failed = status.counts["failed"] + status.counts["diverged"]
    return TRIALS_FAILED if failed or status.problem else OK
