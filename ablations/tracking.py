"""MLflow as a window on the records: a run for each sweep, and below it one for each trial. Rebuilt from the records.

Syncing writes what is new and nothing twice. Each run has a marker beside the records: which run it is, the last step
sent of every metric, what else is there already. Before points are sent the marker says so, and after a kill, or
without a marker, the server is asked what it has; so every point is there once, whenever what is killed. Points go by
metric and step, not by their place in the spool: a spool that a resumed training cut back makes no fold.

MLflow is imported only when there is something to write.
"""

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ablations.lease import Lease, LeaseHeld, LeaseLost, acquire
from ablations.mlflow_access import TrackingError, mlflow_client, mlflow_errors, without_password
from ablations.tracked_runs import RunContent, TrackedSweep, TrackedTrial
from ablations.tracking_marker import DATABASE, Marker

VIEW = "trials"
"""The name of the view of a sweep's trials, for the address of MLflow's page."""

_STATUS = {"running": "RUNNING", "done": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "diverged": "FAILED"}
_METRICS_PER_REQUEST = 1000
_PARAMETERS_PER_REQUEST = 100
_PARAMETER_LENGTH = 6000
_TAG_LENGTH = 5000
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

    def sync(self, folder: Path) -> bool:
        """Write whatever is new in a sweep's folder; whether there was anything. Raises ``TrackingError``."""
        try:
            sweep = TrackedSweep.read(folder, self._store)
            if not self._is_behind(sweep):
                return False
            with self._alone() as lease:
                self._write_sweep(sweep, lease)
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

    def _is_behind(self, sweep: TrackedSweep) -> bool:
        marker = self._marker(sweep.folder)
        if marker.seen != sweep.seen() or self._lost(marker.run):
            return True
        return any(self._marker(trial.folder).seen != _seen(trial, marker.run) for trial in sweep.trials())

    def _marker(self, folder: Path) -> Marker:
        return Marker.read(folder / "tracked.json", self._shown)

    def _lost(self, run: str) -> bool:
        """Whether our own database was deleted, or made anew, since a run was written. Servers are believed."""
        if not self.uri.startswith("sqlite:///"):
            return False
        place = quote(self.uri.removeprefix("sqlite:///"))
        try:
            with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
                return database.execute("SELECT 1 FROM runs WHERE run_uuid = ?", [run]).fetchone() is None
        except sqlite3.Error:
            return True  # MLflow is asked, and says what is wrong

    @contextmanager
    def _alone(self) -> Iterator[Lease]:
        """One process writes MLflow from this store: two would make the same run, or the database, twice."""
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

    def _write_sweep(self, sweep: TrackedSweep, lease: Lease) -> None:
        advice = "; if it is damaged, delete it: it is made anew from the records" if self._owns_database else ""
        with mlflow_errors(self.uri, advice=advice):
            if self._client is None:
                self._client = mlflow_client(self.uri)
            experiment = self._experiment(sweep.name)
            seen = sweep.seen()
            content = sweep.content()
            identity = {"ablations.sweep": sweep.name, "ablations.kind": "sweep"}
            own = _Run(self._client, experiment, self._marker(sweep.folder), identity)
            own.begin(content)
            if own.marker.seen != seen:
                self._offer_view(sweep, experiment)
            for trial in sweep.trials():
                lease.confirm()
                self._write_trial(trial, experiment, own.marker.run)
            own.complete(content, seen)

    def _write_trial(self, trial: TrackedTrial, experiment: str, parent: str) -> None:
        marker = self._marker(trial.folder)
        seen = _seen(trial, parent)
        if marker.seen == seen:
            return
        identity = {
            "ablations.sweep": trial.sweep.name,
            "ablations.kind": "trial",
            "ablations.trial": trial.key,
            "mlflow.parentRunId": parent,
        }
        content = trial.content()
        run = _Run(self._client, experiment, marker, identity)
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


class _Run:
    """Writes one run, in any state in which a kill may have left it."""

    def __init__(self, client: Any, experiment: str, marker: Marker, identity: Mapping[str, str]) -> None:
        self._client = client
        self._experiment = experiment
        self.marker = marker
        self._identity = identity

    def begin(self, content: RunContent) -> None:
        """Find the run or make it, and send its name, tags and parameters."""
        if not self._is_known():
            self._find(content)
        self._send_description(content)

    def complete(self, content: RunContent, seen: dict[str, Any]) -> None:
        """Send all the rest. ``seen`` is from before ``content`` was read: what came between is sent the next time."""
        self._send_points(content)
        self._send_status(content)
        self._send_artifacts(content)
        self.marker.seen = seen
        self.marker.write()

    def _is_known(self) -> bool:
        """Whether the marker's run is there, and what it says of it true."""
        from mlflow.exceptions import MlflowException

        marker = self.marker
        if not marker.run or marker.experiment != self._experiment:
            return False
        try:
            run = self._client.get_run(marker.run)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if run.info.lifecycle_stage != "active":
            return False
        if marker.sending:
            self._adopt(run)
        return True

    def _find(self, content: RunContent) -> None:
        """Take up the run with our tags, or make one."""
        from mlflow.entities import ViewType

        name = "ablations.trial" if "ablations.trial" in self._identity else "ablations.kind"
        found = self._client.search_runs(
            [self._experiment],
            filter_string=f"tags.`{name}` = '{self._identity[name]}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
            order_by=["attributes.start_time ASC"],
        )
        if found:
            self._adopt(found[0])
            return
        run = self._client.create_run(
            self._experiment, start_time=content.started, tags=dict(self._identity), run_name=content.name
        )
        self._mark(run)
        self.marker.write()

    def _adopt(self, run: Any) -> None:
        """Learn from the server what a run has."""
        marker = self._mark(run)
        marker.parameters = sorted(run.data.params)
        for metric in run.data.metrics:
            marker.steps[metric] = max(point.step for point in self._client.get_metric_history(marker.run, metric))
        marker.write()

    def _mark(self, run: Any) -> Marker:
        """Begin a marker for a run."""
        self.marker = Marker(
            path=self.marker.path,
            uri=self.marker.uri,
            run=run.info.run_id,
            experiment=self._experiment,
            name=run.info.run_name,
            status=run.info.status,
        )
        return self.marker

    def _send_description(self, content: RunContent) -> None:
        from mlflow.entities import Param, RunTag

        marker = self.marker
        if marker.name != content.name:
            self._client.update_run(marker.run, name=content.name)
            marker.name = content.name
        tags = {**self._identity, **content.tags}
        if marker.tags != _digest(tags):
            self._client.log_batch(marker.run, tags=[RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()])
            marker.tags = _digest(tags)
        new = [key for key in content.parameters if key not in marker.parameters]
        for keys in _parts(new, _PARAMETERS_PER_REQUEST):
            texts = {key: content.parameters[key][:_PARAMETER_LENGTH] for key in keys}
            self._client.log_batch(marker.run, params=[Param(key, text) for key, text in texts.items()])
            marker.parameters += keys

    def _send_points(self, content: RunContent) -> None:
        from mlflow.entities import Metric

        marker = self.marker
        new = [point for point in content.points if point.step > marker.steps.get(point.metric, -1)]
        if not new:
            return
        marker.sending = True
        marker.write()
        for points in _parts(new, _METRICS_PER_REQUEST):
            metrics = [Metric(point.metric, point.value, point.time, point.step) for point in points]
            self._client.log_batch(marker.run, metrics=metrics)
        for point in new:
            marker.steps[point.metric] = max(point.step, marker.steps.get(point.metric, -1))
        marker.sending = False
        marker.write()

    def _send_status(self, content: RunContent) -> None:
        status = _STATUS[content.state]
        if self.marker.status == status:
            return
        if status == "RUNNING":
            self._client.update_run(self.marker.run, status=status)
        else:
            self._client.set_terminated(self.marker.run, status, end_time=content.ended)
        self.marker.status = status

    def _send_artifacts(self, content: RunContent) -> None:
        known = self.marker.artifacts
        for name, text in content.texts.items():
            if known.get(name) != _digest(text):
                self._client.log_text(self.marker.run, text, name)
                known[name] = _digest(text)
        for name, data in content.contents.items():
            digest = sha256(data).hexdigest()[:16]
            if known.get(name) != digest:
                with tempfile.TemporaryDirectory() as place:
                    Path(place, name).write_bytes(data)
                    self._client.log_artifact(self.marker.run, str(Path(place, name)))
                known[name] = digest
        for name, path in content.files.items():
            found = path.stat()
            stamp = f"{found.st_size} {found.st_mtime_ns}"
            if known.get(name) != stamp:
                self._client.log_artifact(self.marker.run, str(path), os.path.dirname(name) or None)
                known[name] = stamp


def _seen(trial: TrackedTrial, parent: str) -> dict[str, Any]:
    """What a trial's run was made of. A sweep that has got another run has lost those of its trials as well."""
    return {**trial.seen(), "parent": parent}


Part = TypeVar("Part")


def _parts(whole: Sequence[Part], most: int) -> Iterator[Sequence[Part]]:
    for start in range(0, len(whole), most):
        yield whole[start : start + most]


def _digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
