"""``running.json``, which tells other processes the dispatcher's jobs; read by ``snapshot.read_running``."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ablations.backlog import Work
from ablations.describe import job_label, optimizer_steps
from ablations.store import write_json


class RunningFile:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "running.json"
        self._written: dict[str, Any] | None = None

    def update(self, running: Iterable[Work], queued: Iterable[Work]) -> None:
        """Raises ``OSError``."""
        listed = {"jobs": [entry(work) for work in running], "queued": [entry(work) for work in queued]}
        if listed != self._written:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, listed)
            self._written = listed


def entry(work: Work) -> dict[str, Any]:
    """A job with what is needed to tell how far it has got."""
    stages = [{"kind": one.kind, "key": one.key, "steps": optimizer_steps(one)} for one in work.job.stages]
    return {"name": work.name, "label": job_label(work.job), "stages": stages, "started": work.started}
