"""How a sweep stands, read from its folders alone: for ``ablate status`` and ``ablate watch``."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.attempts import DONE, read_tried
from ablations.ended import read_ended
from ablations.folder import submission_of
from ablations.lease import holder
from ablations.outline import read_outline
from ablations.snapshot import STATES, Status, read_running
from ablations.stop_request import cancelled_trials
from ablations.store import object_in


@dataclass(frozen=True, kw_only=True)
class Overview:
    status: Status
    title: str
    labels: Mapping[str, str]
    """Labels of the arms, by key."""
    trials: tuple[Mapping[str, Any], ...]
    """Trials in the plan's order: ``key``, ``arm``, ``seed``, ``state``, ``objective``, ``seconds``, ``failure``."""
    cut_short: Mapping[str, int]
    """Attempts of this run that ended before their job was done, by how they ended (an ``Outcome``)."""
    searches: bool
    """Whether more trials may be added."""
    owner: str | None
    """The process that runs the sweep, or looks after it at the moment."""
    submission: Mapping[str, Any] | None
    """For a sweep that was submitted to a cluster, what ``submitted.json`` says, and ``look.json`` of the last look."""

    @property
    def finished(self) -> bool:
        """Whether nothing more will be done for the sweep, unless somebody asks."""
        if self.submission is None:
            return self.status.ended == self.status.total
        lost = self.status.counts["failed"] + self.status.counts["waiting"] + self.status.counts["running"]
        return bool(self.submission.get("finished")) or not (lost or self.searches or self.status.queued)


def read_overview(folder: Path, store: Path) -> Overview:
    """Raises ``BadInput`` where the plan cannot be read."""
    outline = read_outline(folder)
    owner, submission = holder(folder), submission_of(folder)
    running, queued = read_running(folder, store, owned=owner is not None and submission is None)
    active = {job.name.removeprefix("trial-") for job in running if job.name.startswith("trial-")}
    ended, tried = read_ended(folder), read_tried(folder)
    cancelled = cancelled_trials(folder)
    trials = tuple(
        _trial(key, arm, seed, ended.get(key, {}), active, cancelled, tried.given_up)
        for key, arm, seed in outline.trials
    )
    counts = dict.fromkeys(STATES, 0)
    for trial in trials:
        counts[trial["state"]] += 1
    last_look = (object_in(folder / "look.json") or {}) if submission is not None else {}
    status = Status(
        name=outline.name,
        counts=counts,
        running=running,
        queued=queued,
        problem=last_look.get("problem", "") if counts["failed"] + counts["waiting"] else "",
        gpu_hours=_gpu_hours(tried.seconds, counts, (submission or {}).get("gpus", 0)),
    )
    return Overview(
        status=status,
        title=outline.title,
        labels=outline.labels,
        trials=trials,
        cut_short={how: count for how, count in tried.outcomes.items() if how not in (DONE, "pruned", "cancelled")},
        searches=outline.design == "search",
        owner=None if owner is None else str(owner),
        submission=None if submission is None else {**submission, **last_look},
    )


def _trial(
    key: str,
    arm: str,
    seed: int,
    record: Mapping[str, Any],
    active: set[str],
    cancelled: Collection[str],
    given_up: set[str] | None,
) -> dict[str, Any]:
    """``given_up``: the stages that this run has given up; a failure of another stage is from an earlier run, and is
    tried again in this one."""
    if record.get("state") == "failed" and given_up is not None:
        stage = str((record.get("failure") or {}).get("stage", "")).partition("/")[2]
        record = record if stage in given_up else {}
    state = record.get("state", "cancelled" if key in cancelled else "waiting")
    if key in active and state != "done":  # what is listed as running may be older than the record
        state = "running"
    return {
        "key": key,
        "arm": arm,
        "seed": seed,
        "state": state if state in STATES else "waiting",
        "objective": record.get("objective"),
        "seconds": record.get("seconds"),
        "failure": record.get("failure"),
    }


def _gpu_hours(seconds: float, counts: Mapping[str, int], gpus: int) -> tuple[float, float | None] | None:
    """GPU-hours spent and left. ``seconds``: how long attempts held ``gpus`` each. The remaining trials are taken to
    need what ended ones took on average."""
    if not gpus:
        return None
    spent = seconds * gpus / 3600
    ended = sum(counts[state] for state in ("done", "pruned", "diverged", "failed"))
    left = counts["running"] + counts["waiting"]
    return spent, spent / ended * left if ended else None
