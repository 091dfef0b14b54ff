"""How a trial ended, as ``trials/<key>/record.json`` in the sweep's folder: a view of its stages' records.

It can be made again from them at any time. Only the dispatcher writes it, together with a line of ``trials.jsonl``,
from which ``ablations.ended`` tells how thousands of trials ended without opening as many files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ablations.ended import EndedFile, read_trial
from ablations.plan import Trial
from ablations.stages import Stage
from ablations.store import Damaged, Store, read_object, set_aside, write_json

State = Literal["done", "pruned", "failed", "diverged"]


class TrialFolders:
    """The trials' folders of one sweep."""

    def __init__(self, sweep: Path, store: Store) -> None:
        self._sweep = sweep
        self._store = store
        self._ended = EndedFile(sweep)
        self._seconds: dict[str, float] = {}
        """Seconds that each stage took, by key: many trials share the early ones."""

    def folder(self, trial: Trial) -> Path:
        return self._sweep / "trials" / trial.key

    def marker(self, trial: Trial) -> Path:
        """Its presence prunes the trial: the job stops at its next step, and no other is started."""
        return self.folder(trial) / "stop"

    def finish(
        self,
        trial: Trial,
        state: State,
        *,
        metric: str,
        result: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write the trial's record unless an equal one is there. ``result`` is that of its last stage."""
        metrics = dict(result.get("metrics", {})) if result else {}
        record: dict[str, Any] = {
            "trial": trial.key,
            "arm": trial.arm.key,
            "seed": trial.seed,
            "state": state,
            "objective": metrics.get(metric),
            "metrics": metrics,
            "stages": _by_role(trial),
            "failure": dict(failure) if failure else None,
        }
        folder = self.folder(trial)
        path = folder / "record.json"
        known = read_trial(path)
        if known is not None and {**known, "seconds": None} == {**record, "seconds": None}:
            self._ended.note(known)
            return known
        record["seconds"] = round(sum(self._stage_seconds(stage) for stage in trial.stages), 3)
        folder.mkdir(parents=True, exist_ok=True)
        if known is None and path.exists():
            set_aside(path)
        write_json(path, record)
        self._ended.note(record)
        return record

    def _stage_seconds(self, stage: Stage) -> float:
        if stage.key not in self._seconds:
            record = self._store.stage(stage.kind, stage.key).path / "record.json"
            try:
                self._seconds[stage.key] = float(read_object(record)["provenance"]["seconds"])
            except (FileNotFoundError, Damaged, KeyError, TypeError, ValueError):
                return 0.0
        return self._seconds[stage.key]


def _by_role(trial: Trial) -> dict[str, str]:
    """Key by kind, or by role (``corpus:captions``) where a kind can play several."""
    inputs = {role: key for stage in trial.stages for role, key in stage.inputs.items()}
    return {**inputs, trial.stages[-1].kind: trial.stages[-1].key}
