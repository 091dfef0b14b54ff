"""A sweep on a cluster that needs no process to stay alive: submitted, and then carried on one look at a time.

``submit`` freezes what is to be done and takes the first look. Each job takes another as its last act. A small job
takes one when all jobs that were there have ended, in whatever way, and from time to time if none could be sent. A look
is ``Dispatcher.advance``, repeated until nothing is left to do at the moment.
"""

import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.advance import Dispatcher
from ablations.attempts import AttemptsFile
from ablations.data_files import RememberedDigests
from ablations.errors import BadInput, ClusterSilent
from ablations.frozen import freeze_code
from ablations.launchers import CLUSTER, on_cluster
from ablations.plan import make_plan, save_plan
from ablations.profile_file import Cluster, find_cluster
from ablations.provenance import provenance
from ablations.rehearsal import check_accepted
from ablations.search import STUDY_VARIABLE, SearchDriver, check_study
from ablations.snapshot import Status
from ablations.stop_request import clear_stop, stop_requested
from ablations.store import Store, Warn, store_errors, write_changed, write_json
from ablations.submitted import Submitted, load_submitted
from ablations.sweep import Search, Sweep
from ablations.sweep_file import read_sweep
from ablations.turn import take_turn, wait_for_sweep
from slurm.commands import Slurm
from slurm.home import Home
from slurm.launcher import LauncherError

_PATIENCE = 90.0
"""Seconds to wait for news of jobs that seem to be over; what comes later is left to the next look."""
_LOOK_AGAIN = 1.0


def submit_sweep(
    sweep_path: Path,
    *,
    store: Path,
    profile: str,
    workers: int | None,
    say: Warn,
    warn: Warn,
    study_url: str | None = None,
) -> tuple[str, Status]:
    """Begin a run of the sweep on a cluster; everything is checked before anything is written. Returns the sweep's name
    and its status. Raises ``AblationError``.

    ``study_url`` may hold a password, so jobs get it through the environment and it is written to no file.
    """
    cluster = find_cluster(profile)
    digests = RememberedDigests(store)
    sweep = read_sweep(sweep_path, digest_of=digests)
    plan = make_plan(sweep)
    check_accepted(sweep, cluster, profile, store=store, alone=True)
    if study_url is not None:
        check_study(sweep, study_url)
        os.environ[STUDY_VARIABLE] = study_url
    place = Store(store)
    place.prepare()
    digests.save()
    folder = place.sweep(sweep.name)
    with wait_for_sweep(place, sweep.name) as taken_over, store_errors(store):
        _require_home(folder, cluster)
        submitted = Submitted(
            sweep=sweep,
            profile=profile,
            cluster=cluster,
            workers=workers,
            code=freeze_code(store),
            provenance=provenance(sys.argv, store=store),
        )
        replacing = _is_another(submitted, folder)
        clear_stop(folder)
        AttemptsFile(folder).begin()
        (folder / "look.json").unlink(missing_ok=True)  # it describes the previous run
        write_changed(folder / "sweep.yaml", sweep.document.file.read_text(encoding="utf-8"))
        if not isinstance(sweep.design, Search):  # a search may go on with the arms of an earlier submission
            save_plan(plan, folder)
        submitted.save(folder)
        status = look(submitted, place, taken_over=taken_over, say=say, warn=warn, replacing=replacing)
        return sweep.name, status


def _require_home(folder: Path, cluster: Cluster) -> None:
    """Raises ``BadInput`` if jobs of an earlier submission belong to another cluster or another user."""
    try:
        Home(folder / CLUSTER, Slurm(cluster.environment)).require()
    except LauncherError as error:
        raise BadInput(str(error)) from None


def _is_another(submitted: Submitted, folder: Path) -> bool:
    """Whether the previous submission, if any, has another program, cluster or resources, or runs its jobs
    differently."""
    try:
        known = load_submitted(folder)
    except BadInput:
        return True
    old, new = known.sweep, submitted.sweep
    if (known.code, known.cluster, old.resources) != (submitted.code, submitted.cluster, new.resources):
        return True
    before, now = _configurations(old), _configurations(new)
    return any(before[key] != now[key] for key in before.keys() & now.keys())


def _configurations(sweep: Sweep) -> Mapping[str, Any]:
    """What jobs run with, including what is part of no key, such as how often to save their state: by stage or, for a
    search, whose stages are not known yet, by setting."""
    if isinstance(sweep.design, Search):
        return sweep.base
    return {key: stage.config for key, stage in make_plan(sweep).stages().items()}


def advance(name: str, *, store: Path, just_ended: bool, say: Warn, warn: Warn) -> Status | None:
    """Do everything that can be done now for a submitted sweep. ``just_ended``: this is the last act of one of its
    jobs. Returns the status, or ``None`` if another process takes care of it. Raises ``AblationError``."""
    place, found = Store(store), []

    def act(taken_over: threading.Event) -> None:
        submitted = load_submitted(place.sweep(name))
        found.append(look(submitted, place, taken_over=taken_over, say=say, warn=warn, just_ended=just_ended))

    take_turn(place, name, act)
    return found[-1] if found else None


def look(
    submitted: Submitted,
    store: Store,
    *,
    taken_over: threading.Event,
    say: Warn,
    warn: Warn,
    replacing: bool = False,
    just_ended: bool = False,
) -> Status:
    """Carry the sweep on as far as possible at the moment, as its one writer. ``replacing``: jobs that wait in the
    queue are from an earlier submission, and are sent anew. ``just_ended``: as for ``advance``."""
    sweep, folder = submitted.sweep, store.sweep(submitted.sweep.name)
    search = None
    if isinstance(sweep.design, Search):
        search = SearchDriver(
            sweep,
            folder,
            store=store.root,
            save=lambda plan: save_plan(plan, folder),
            warn=warn,
            study_url=os.environ.get(STUDY_VARIABLE),
        )
    launcher, resources = on_cluster(
        sweep,
        submitted.cluster,
        workers=submitted.workers,
        store=store.root,
        code=submitted.code,
        alone=True,
        just_ended=just_ended,
    )
    # The launcher is never closed: that would end the jobs.
    try:
        dispatcher = Dispatcher(
            search.plan() if search else make_plan(sweep),
            store=store,
            launcher=launcher,
            resources=resources,
            provenance=lambda: submitted.provenance,
            say=say,
            warn=warn,
            continuing=True,
            replacing=replacing,
        )

        def is_over() -> bool:
            searched = search is None or search.complete or bool(dispatcher.problem) or stop_requested(folder) > 0
            return dispatcher.finished and searched

        with store_errors(store.root):
            if replacing:
                launcher.leave(over=True)
            refusal = "" if is_over() else launcher.follow_up()
        end = time.monotonic() + _PATIENCE
        while True:
            stop = stop_requested(folder)
            if stop:
                dispatcher.stop(kill=stop > 1)
            elif search is not None:
                with store_errors(store.root):
                    search.step(dispatcher, capacity=launcher.capacity, now=time.monotonic())
            status = dispatcher.advance()
            ended = any(one.state.ended for one in launcher.jobs().values())  # hands over what was just submitted
            late = time.monotonic() >= end
            busy = ended or launcher.in_doubt or dispatcher.replaces or (stop and not dispatcher.finished)
            if taken_over.is_set() or late or not busy:
                break
            launcher.wait(0.0 if ended else _LOOK_AGAIN)
        unsent, held_up = launcher.held_up
        status = replace(status, unsent=unsent, held_up=held_up)
        if taken_over.is_set():
            return status
        finished = is_over()
        if refusal and not finished:
            warn(f"the job that looks after the others could not be queued ({refusal}); `ablate watch` does its work")
        with store_errors(store.root):
            launcher.leave(over=finished)
            status = replace(status, followed=launcher.followed)
            if search is not None and finished:
                search.conclude()
            jobs = {"unsent": unsent, "held_up": held_up, "reasons": dict(launcher.reasons)}
            looked = {"looked": round(time.time(), 3), "finished": finished, "problem": status.problem}
            write_json(folder / "look.json", {**looked, **jobs, "followed": status.followed})
        return status
    except LauncherError as error:
        raise ClusterSilent(str(error)) from None
