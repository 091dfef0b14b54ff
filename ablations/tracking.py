"""MLflow as a window on the records: a run for each sweep, and below it one for each trial. Rebuilt from the records.

Syncing writes what is new and nothing twice; ``run_writer`` sees to each run. A run belongs to the store whose records
it shows: two stores may have sweeps of one name in one MLflow.

MLflow is imported only when there is something to write, or to ask.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ablations import moved_database
from ablations.lease import Lease, LeaseHeld, LeaseLost, acquire
from ablations.mlflow_access import TrackingError, all_runs, mlflow_client, mlflow_errors, without_password
from ablations.run_writer import RunWriter
from ablations.store import Store
from ablations.tracked_runs import TrackedSweep, TrackedTrial
from ablations.tracking_marker import DATABASE, Marker

VIEW = "trials"
"""The name of the view of a sweep's trials, for the address of MLflow's page."""

_PATIENCE = 300.0
"""Seconds to wait for another process that writes MLflow from this store."""


class Tracker:
    """Writes sweeps of one store to one MLflow."""

    def __init__(self, uri: str | None, store: Path) -> None:
        """``uri``: a tracking server or database; by default ``mlflow.db`` in the store."""
        self._store = store.resolve()
        self.uri = uri or f"sqlite:///{self._store / DATABASE}"
        self._owns_database = uri is None
        self._shown = without_password(self.uri)
        self._client: Any = None

    def sync(self, folder: Path, *, check: bool = False) -> bool:
        """Write whatever is new in a sweep's folder. Returns whether there was anything. Raises ``TrackingError``.

        ``check``: ask a server which runs it has; otherwise it is trusted to keep what it was given. A database in a
        file is always looked at.
        """
        try:
            sweep = TrackedSweep.read(folder, self._store)
            kept = self._kept(sweep, check=check)
            if not self._is_behind(sweep, kept):
                return False
            with self._alone() as lease:
                if self._was_moved(sweep):
                    self._set_aside()
                self._write_sweep(sweep, kept, lease)
                return True
        except LeaseLost as lost:
            raise TrackingError(f"MLflow is written by another process now ({lost}); sync again") from lost
        except (OSError, ValueError) as error:  # the records, or the disk below a marker
            raise TrackingError(f"{folder} cannot be tracked: {error}") from error

    def experiment(self, folder: Path) -> str:
        """The MLflow experiment of a sweep that was synced."""
        return self._marker(folder).experiment

    def run(self, folder: Path) -> str:
        """The MLflow run of a trial's folder that was synced."""
        return self._marker(folder).run

    def _is_behind(self, sweep: TrackedSweep, kept: set[str] | None) -> bool:
        marker = self._marker(sweep.folder, kept)
        if marker.seen != sweep.seen():
            return True
        return any(self._marker(trial.folder, kept).seen != _seen(trial, marker.run) for trial in sweep.trials())

    def _marker(self, folder: Path, kept: set[str] | None = None) -> Marker:
        """The marker in a folder. ``kept``: the runs that exist; what a marker says about another one is void."""
        path = folder / "tracked.json"
        marker = Marker.read(path, self._shown)
        return Marker(path=path, uri=self._shown) if kept is not None and marker.run not in kept else marker

    def _was_moved(self, sweep: TrackedSweep) -> bool:
        """Whether our database was made where the store was before, or in the store that this one is a copy of."""
        sweeps = {sweep.name, *(path.parent.name for path in (self._store / "sweeps").glob("*/plan.json"))}
        return self._owns_database and moved_database.names_another_place(
            self._store / DATABASE, self._store / "mlartifacts", sweeps
        )

    def _set_aside(self) -> None:
        aside = moved_database.set_aside(self._store / DATABASE)
        print(
            f"the store was moved or copied: {DATABASE} names the place where it was, so it is kept as {aside.name} "
            "and made anew from the records; models that were registered there are registered again by "
            "`ablate register`",
            file=sys.stderr,
        )

    def _kept(self, sweep: TrackedSweep, *, check: bool) -> set[str] | None:
        """The runs that MLflow has of a sweep; ``None`` if the markers are trusted."""
        if self._was_moved(sweep):
            return set()
        if self.uri.startswith("sqlite:///"):
            place = quote(self.uri.removeprefix("sqlite:///"))
            try:
                with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
                    rows = database.execute("SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active'")
                    return {run for (run,) in rows}
            except sqlite3.Error:
                return set()  # deleted, or made anew; MLflow is asked, and says what is wrong
        if not check:
            return None
        with self._speaking():
            experiment = self._client.get_experiment_by_name(sweep.name)
            if experiment is None:
                return set()
            return {run.info.run_id for run in all_runs(self._client, experiment.experiment_id)}

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Provide a client, and report MLflow's errors in one line."""
        advice = "; if it is damaged, delete it: it is rebuilt from the records" if self._owns_database else ""
        with mlflow_errors(self.uri, advice=advice):
            if self._client is None:
                self._client = mlflow_client(self.uri)
            yield

    @contextmanager
    def _alone(self) -> Iterator[Lease]:
        """Let one process at a time write MLflow from this store: two would make the same run, or the database,
        twice."""
        folder = self._store / "mlartifacts"
        folder.mkdir(parents=True, exist_ok=True)
        patience = time.monotonic() + _PATIENCE
        while True:
            try:
                lease = acquire(folder)
                break
            except LeaseHeld as held:
                if time.monotonic() > patience:
                    raise TrackingError(
                        f"MLflow is being written by {held.owner}; sync again when it is done"
                    ) from None
                time.sleep(0.2)
        try:
            yield lease
        finally:
            lease.release()

    def _write_sweep(self, sweep: TrackedSweep, kept: set[str] | None, lease: Lease) -> None:
        with self._speaking():
            experiment = self._experiment(sweep.name)
            seen = sweep.seen()
            content = sweep.content()
            identity = {"ablations.kind": "sweep", **_belonging(sweep)}
            own = RunWriter(self._client, experiment, self._marker(sweep.folder, kept), identity)
            own.begin(content)
            if own.marker.seen != seen:
                self._offer_view(sweep, experiment)
            for trial in sweep.trials():
                lease.confirm()
                self._write_trial(trial, kept, experiment, own.marker.run)
            own.complete(content, seen)

    def _write_trial(self, trial: TrackedTrial, kept: set[str] | None, experiment: str, parent: str) -> None:
        marker = self._marker(trial.folder, kept)
        seen = _seen(trial, parent)
        if marker.seen == seen:
            return
        identity = {"ablations.kind": "trial", "ablations.trial": trial.key, **_belonging(trial.sweep)}
        content = trial.content()
        run = RunWriter(self._client, experiment, marker, identity, parent=parent)
        run.begin(content)
        run.complete(content, seen)

    def _experiment(self, name: str) -> str:
        """The sweep's experiment; made if there is none, brought back if it was deleted."""
        known = self._client.get_experiment_by_name(name)
        if known is None:
            remote = self.uri.startswith(("http://", "https://", "databricks"))
            place = None if remote else (self._store / "mlartifacts" / name).as_uri()
            return self._client.create_experiment(
                name, artifact_location=place, tags={"mlflow.experimentKind": "custom_model_development"}
            )
        if known.lifecycle_stage == "deleted":
            self._client.restore_experiment(known.experiment_id)
        return known.experiment_id

    def _offer_view(self, sweep: TrackedSweep, experiment: str) -> None:
        """A view of the trials as a flat table, best first, in the form in which MLflow's pages share views."""
        objective = sweep.plan["objective"]
        view = {
            "selectedColumns": sweep.columns(),
            "searchFilter": "tags.`ablations.kind` = 'trial'",
            "orderByKey": f"metrics.`{objective['metric']}`",
            "orderByAsc": objective["direction"] == "minimize",
        }
        self._client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{VIEW}", json.dumps(view))


def _belonging(sweep: TrackedSweep) -> dict[str, str]:
    return {"ablations.sweep": sweep.name, "ablations.store": Store(sweep.store).identity()}


def _seen(trial: TrackedTrial, parent: str) -> dict[str, Any]:
    """What a trial's run was made from. A sweep that has got another run has lost those of its trials as well."""
    return {**trial.seen(), "parent": parent}
