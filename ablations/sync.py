"""``ablate sync``: bring MLflow up to date from the records, if it was away while a sweep ran."""

import json
from pathlib import Path

from ablations.errors import OK
from ablations.folder import sweep_folders
from ablations.tracking import Tracker


def sync(sweep: str | None, *, store: Path, tracking_uri: str | None, json_output: bool) -> int:
    """Write what MLflow lacks of a sweep, or of all sweeps of the store if ``None``; nothing twice, however often it
    runs.

    Raises ``BadInput`` for an unknown sweep, ``TrackingError`` where MLflow cannot be written.
    """
    tracker = Tracker(tracking_uri, store)
    done = []
    for folder in sweep_folders(sweep, store):
        written = tracker.sync(folder, check=True)
        done.append({"name": folder.name, "experiment": tracker.experiment(folder), "written": written})
        if not json_output:
            print(f"{folder.name}: {'written to' if written else 'up to date in'} MLflow")
    if json_output:
        print(json.dumps(done))
    return OK
