"""``ablate run``: dispatches a sweep until every trial has ended, then writes MLflow and the report.

After Ctrl-C, and after any kill, the same command continues. A run with nothing left to do starts no job.
"""

import json
import sys
import threading
from contextlib import closing
from functools import cache
from pathlib import Path

from ablations.background_sync import BackgroundSync
from ablations.conclude import say_end, set_unreadable_aside, write_report, write_tracking
from ablations.data_files import RememberedDigests
from ablations.dispatch import Ended, SweepBusy, dispatch, hold_sweep
from ablations.errors import STOPPED
from ablations.folder import submission_of
from ablations.frozen import freeze_code
from ablations.invocation import command
from ablations.launchers import CLUSTER, on_cluster, on_this_machine
from ablations.plan import Plan, make_plan, save_plan
from ablations.profile_file import Cluster, find_cluster
from ablations.progress import Display, open_display
from ablations.provenance import provenance
from ablations.rehearsal import check_accepted
from ablations.search import SearchDriver, check_study
from ablations.snapshot import Status
from ablations.stop_request import clear_stop
from ablations.store import Store, store_errors, write_changed
from ablations.sweep import Search, Sweep
from ablations.sweep_file import read_sweep
from ablations.turn import heed_turns


def run_sweep(
    sweep_path: Path,
    *,
    store: Path,
    workers: int | None,
    tracking_uri: str | None,
    json_output: bool,
    quiet: bool,
    profile: str | None = None,
    study_url: str | None = None,
) -> int:
    """Run the sweep to its end, with ``profile`` on that cluster. Returns an exit code; raises ``AblationError``.

    ``study_url``: the database of a search's study; by default it is a file.
    """
    cluster = None if profile is None else find_cluster(profile)
    digests = RememberedDigests(store)
    sweep = read_sweep(sweep_path, digest_of=digests)
    # Before anything is written, so that a sweep that cannot be planned leaves no trace.
    plan = make_plan(sweep)
    if profile is not None and cluster is not None:
        check_accepted(sweep, cluster, profile, store=store, alone=False)
    if study_url is not None:
        check_study(sweep, study_url)
    place = Store(store)
    place.prepare()
    digests.save()
    folder = place.sweep(sweep.name)
    with closing(BackgroundSync(folder, store=store, uri=tracking_uri)) as sync:
        with hold_sweep(place, sweep.name) as taken_over:
            with store_errors(store):
                clear_stop(folder)
                write_changed(folder / "sweep.yaml", sweep.document.file.read_text(encoding="utf-8"))
            with open_display(quiet=quiet) as display:
                if profile is None:
                    _tell_of_cluster(folder, store, display)
                with store_errors(store):
                    set_unreadable_aside(folder, store, display.warn)
                ended = _dispatch(sweep, plan, place, cluster, workers, display, taken_over, sync, study_url)
            if not ended.stopped:
                summary = write_report(folder, store)
                tracked = write_tracking(sync, folder, store=store, uri=tracking_uri, digest=summary["digest"])
        if ended.stopped:
            sync.last_words()  # now that nobody holds the sweep, MLflow shows its unfinished runs as stopped
            where = [] if profile is None else ["--profile", profile]
            again = command("run", str(sweep_path), *where, store=store, tracking_uri=tracking_uri)
            return _say_stopped(again, ended.status, json_output=json_output)
    return say_end(
        summary,
        ended.status,
        folder,
        store=store,
        tracking_uri=tracking_uri,
        json_output=json_output,
        tracked=tracked,
    )


def _dispatch(
    sweep: Sweep,
    plan: Plan,
    store: Store,
    cluster: Cluster | None,
    workers: int | None,
    display: Display,
    taken_over: threading.Event,
    sync: BackgroundSync,
    study_url: str | None,
) -> Ended:
    folder = store.sweep(sweep.name)

    def save(plan: Plan) -> None:
        save_plan(plan, folder)

    def now_and_then(status: Status) -> None:
        heed_turns(folder)
        if status.running:
            sync.now_and_then()

    with store_errors(store.root):
        search = None
        if isinstance(sweep.design, Search):
            search = SearchDriver(sweep, folder, store=store.root, save=save, warn=display.warn, study_url=study_url)
            plan = search.plan()
        save(plan)
    if cluster is None:
        launcher, resources = on_this_machine(sweep, plan, workers=workers, folder=folder, warn=display.warn)
    else:
        with store_errors(store.root):
            code = freeze_code(store.root)
        launcher, resources = on_cluster(sweep, cluster, workers=workers, store=store.root, code=code, alone=False)
    ours = True
    try:
        return dispatch(
            plan,
            store=store,
            launcher=launcher,
            resources=resources,
            provenance=cache(lambda: provenance(sys.argv, store=store.root)),
            display=display,
            taken_over=taken_over,
            search=search,
            tick=now_and_then,
        )
    except SweepBusy:
        ours = cluster is None  # the jobs in a cluster's queue belong to whoever took the sweep over
        raise
    finally:
        if ours:
            launcher.close()


def _tell_of_cluster(folder: Path, store: Path, display: Display) -> None:
    """A sweep may run in two places: what one of them trains, the other leaves alone."""
    about = submission_of(folder)
    jobs = len(list((folder / CLUSTER).glob("*/*.json")))
    if about is not None and jobs:
        display.warn(
            f"{folder.name} was submitted to {about['profile']}, whose queue last had {jobs} of its jobs; "
            "this run waits for what they train. To run everything here, end them first: "
            f"`{command('cancel', folder.name, store=store)}`"
        )


def _say_stopped(again: str, status: Status, *, json_output: bool) -> int:
    left = status.counts["waiting"] + status.counts["cancelled"]
    if json_output:
        print(json.dumps({"name": status.name, "states": dict(status.counts), "stopped": True}))
    print(
        f"Stopped: {status.ended} of {status.total} trials have ended, {left} are left. `{again}` continues.",
        file=sys.stderr,
    )
    return STOPPED
