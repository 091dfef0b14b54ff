"""Writes one MLflow run, so that it shows what the records say, with every point once.

A run has a marker beside the records: which run it is, the last step sent of every metric, and what else is there
already. Before points are sent, the marker says so; after a kill, or without a marker, MLflow is asked what it has.
Points are known by metric and step, not by their place in the spool, so one that a resumed training cut back makes no
fold in a curve. MLflow can add points but not change them, so if the records have come to say something else, the run
is deleted and made anew.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from ablations.run_content import RunContent, digest
from ablations.tracking_marker import Marker

_STATUS = {
    "running": "RUNNING",
    "stopped": "KILLED",
    "done": "FINISHED",
    "pruned": "KILLED",
    "failed": "FAILED",
    "diverged": "FAILED",
}
_METRICS_PER_REQUEST = 1000
_PARAMETERS_PER_REQUEST = 100
_TAGS_PER_REQUEST = 100
_PARAMETER_LENGTH = 6000
_TAG_LENGTH = 5000


class RunWriter:
    """One run, in any state in which a kill may have left it."""

    def __init__(
        self, client: Any, experiment: str, marker: Marker, identity: Mapping[str, str], *, parent: str | None = None
    ) -> None:
        """``identity``: the tags that tell the run from all others. ``parent``: the run that it is shown below."""
        self._client = client
        self._experiment = experiment
        self.marker = marker
        self._identity = identity
        self._tags = {**identity, **({} if parent is None else {"mlflow.parentRunId": parent})}

    def begin(self, content: RunContent) -> None:
        """Find the run or make it, and send its name, tags and parameters."""
        if not self._is_known():
            self._find(content)
        if self._tells_another_story(content):
            self._client.delete_run(self.marker.run)  # MLflow cannot take points back
            self._make(content)
        self._send_description(content)

    def complete(self, content: RunContent, seen: dict[str, Any]) -> None:
        """Send all the rest. ``seen`` is from before ``content`` was read, so what came between is sent the next
        time."""
        self._send_data(content)
        self._send_points(content)
        self._send_status(content)
        self._send_artifacts(content)
        self.marker.seen = seen
        self.marker.write()

    def _is_known(self) -> bool:
        """Whether the marker's run is there. If it may hold other points than the marker says, the marker is made
        anew."""
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
        if marker.sending or bool(marker.steps) != bool(marker.points):
            self._adopt(run)
        return True

    def _tells_another_story(self, content: RunContent) -> bool:
        """Whether points that were sent are not those of the records: a resumed training came out differently (as on a
        GPU), or has lines at other steps. One that was cut back, and is on its way again, tells nothing yet."""
        sent = self.marker.steps
        reached = {point.metric: point.step for point in content.points}  # in the order of steps
        if content.state in ("running", "stopped") and any(reached.get(name, -1) < step for name, step in sent.items()):
            return False
        points = ((one.metric, one.step, one.value) for one in content.points if one.step <= sent.get(one.metric, -1))
        return bool(sent) and _digest_points(points) != self.marker.points

    def _find(self, content: RunContent) -> None:
        """Find the run with our tags, or make one."""
        from mlflow.entities import ViewType

        found = self._client.search_runs(
            [self._experiment],
            filter_string=" and ".join(f"tags.`{name}` = '{value}'" for name, value in self._identity.items()),
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
            order_by=["attributes.start_time ASC"],
        )
        if found:
            self._adopt(found[0])
        else:
            self._make(content)

    def _make(self, content: RunContent) -> None:
        run = self._client.create_run(
            self._experiment, start_time=content.started, tags=dict(self._tags), run_name=content.name
        )
        self._mark(run)
        self.marker.write()

    def _adopt(self, run: Any) -> None:
        """Learn from the server what a run has."""
        marker = self._mark(run)
        marker.parameters = sorted(run.data.params)
        there = [
            (metric, point.step, point.value)
            for metric in run.data.metrics
            for point in self._client.get_metric_history(marker.run, metric)
        ]
        for metric, step, _ in there:
            marker.steps[metric] = max(step, marker.steps.get(metric, -1))
        marker.points = _digest_points(there)
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
        tags = {**self._tags, **content.tags}
        if marker.tags != digest(tags):
            for some in _parts(list(tags.items()), _TAGS_PER_REQUEST):
                self._client.log_batch(marker.run, tags=[RunTag(key, value[:_TAG_LENGTH]) for key, value in some])
            marker.tags = digest(tags)
        new = [key for key in content.parameters if key not in marker.parameters]
        for keys in _parts(new, _PARAMETERS_PER_REQUEST):
            texts = {key: content.parameters[key][:_PARAMETER_LENGTH] for key in keys}
            self._client.log_batch(marker.run, params=[Param(key, text) for key, text in texts.items()])
            marker.parameters += keys

    def _send_data(self, content: RunContent) -> None:
        """MLflow knows a data set by name and digest, and that a run uses it: sending it again does no harm."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        sent = digest([[one.name, one.key] for one in content.data])
        if not content.data or self.marker.data == sent:
            return
        inputs = []
        for one in content.data:
            profile = {"num_rows": sum(one.samples.values()), "kind": one.kind, **one.samples}
            source = json.dumps({"uri": f"{one.kind}/{one.key}"})  # below the store, wherever that is
            known = Dataset(one.name, one.key, "local", source, profile=json.dumps(profile))
            inputs.append(DatasetInput(known, [InputTag("mlflow.data.context", "training")]))
        self._client.log_inputs(self.marker.run, inputs)
        self.marker.data = sent

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
        marker.points = _digest_points((one.metric, one.step, one.value) for one in content.points)
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
            if known.get(name) != digest(text):
                self._client.log_text(self.marker.run, text, name)
                known[name] = digest(text)
        for name, data in content.contents.items():
            stamp = sha256(data).hexdigest()[:16]
            if known.get(name) != stamp:
                with tempfile.TemporaryDirectory() as place:
                    Path(place, name).write_bytes(data)
                    self._client.log_artifact(self.marker.run, str(Path(place, name)))
                known[name] = stamp
        for name, path in content.files.items():
            found = path.stat()
            stamp = f"{found.st_size} {found.st_mtime_ns}"
            if known.get(name) != stamp:
                self._client.log_artifact(self.marker.run, str(path), os.path.dirname(name) or None)
                known[name] = stamp


def _digest_points(points: Iterable[tuple[str, int, float]]) -> str:
    """The digest of metrics, steps and values, whatever their order; empty for none."""
    found = sorted(points)
    return digest(found) if found else ""


Part = TypeVar("Part")


def _parts(whole: Sequence[Part], most: int) -> Iterator[Sequence[Part]]:
    for start in range(0, len(whole), most):
        yield whole[start : start + most]
