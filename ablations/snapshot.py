"""How a sweep stands at one moment: what the live display, ``ablate status`` and the end of a run show."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablations.lease import holder
from ablations.store import object_in

STATES = ("done", "pruned", "diverged", "failed", "cancelled", "running", "waiting")
"""States of a trial. All but the last two are ends; a trial that failed or was cancelled is tried again by the next
run."""

_TAIL = 4096
"""Bytes at the end of a spool that surely hold a whole line."""


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A job that a process works on."""

    name: str
    label: str
    """Arm and seed, or what the shared stage is."""
    kind: str
    """Kind of the stage it is at."""
    key: str
    work: Path
    """That stage's work folder."""
    steps: int | None
    """Total optimizer steps of that stage, if it has any."""
    started: float | None
    """Unix time."""
    node: str | None = None
    """Where it runs, for a job on a cluster."""


@dataclass(frozen=True, kw_only=True)
class Status:
    name: str
    counts: Mapping[str, int]
    """Trials by state; every state of ``STATES`` is there."""
    running: tuple[RunningJob, ...]
    queued: int = 0
    """Jobs that the launcher has and that have not begun."""
    unsent: int = 0
    """How many of these are not in the cluster's queue yet, as far as is known; ``held_up`` says why, in SLURM's own
    words."""
    held_up: str = ""
    followed: bool = False
    """Whether a small job on the cluster looks after the sweep."""
    problem: str = ""
    """Why no further jobs are started, if that is so."""
    gpu_hours: tuple[float, float | None] | None = None
    """GPU-hours that ended attempts took, and what the rest will take if it goes on like that; for sweeps on a
    cluster."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        return self.total - self.counts["running"] - self.counts["waiting"]


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """The newest line of a spool."""

    step: int
    seconds_per_step: float | None
    loss: float | None


def last_spooled(work: Path) -> Spooled | None:
    """The newest training metrics of a stage; ``None`` before the first."""
    try:
        with (work / "spool.jsonl").open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            entry: dict[str, Any] = json.loads(line)
            metrics = {str(name).partition("/")[2]: value for name, value in entry["metrics"].items()}
            if "loss" in metrics:
                return Spooled(
                    step=entry["step"], seconds_per_step=metrics.get("step_seconds"), loss=float(metrics["loss"])
                )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # cut at the front, or just being written
    return None


def read_running(folder: Path, store: Path, *, owned: bool) -> tuple[tuple[RunningJob, ...], int]:
    """Jobs that run, and how many wait in the launcher's queue, from ``running.json``.

    ``owned``: the file's writer is alive, and knows best. Otherwise, as where a cluster's jobs go on by themselves, a
    job runs while it holds its stage.
    """
    listed = object_in(folder / "running.json") or {}
    jobs, queued = listed.get("jobs", []), listed.get("queued", [])
    if owned:
        return tuple(running_job(entry, store) for entry in jobs), len(queued)
    there = {kind: _names(store / kind) for kind in {stage["kind"] for entry in queued for stage in entry["stages"]}}
    # One listing for each kind of stage: looking into the folders of thousands of jobs takes long.
    begun = [entry for entry in queued if any(stage["key"] in there[stage["kind"]] for stage in entry["stages"])]
    running, waiting = [], len(queued) - len(begun)
    for entry in [*jobs, *begun]:
        job = running_job(entry, store)
        owner = holder(job.work.parent)
        if owner is not None:
            running.append(replace(job, node=owner.host))
        elif not all(_record(stage, store).exists() for stage in entry["stages"]):
            waiting += 1
    return tuple(running), waiting


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def running_job(job: Mapping[str, Any], store: Path) -> RunningJob:
    """A job as ``running.json`` has it, at its first stage that has no record yet."""
    stages = job["stages"]
    stage = next((one for one in stages if not _record(one, store).exists()), stages[-1])
    return RunningJob(
        name=job["name"],
        label=job["label"],
        kind=stage["kind"],
        key=stage["key"],
        work=_record(stage, store).with_name("work"),
        steps=stage["steps"],
        started=job["started"],
    )


def _record(stage: Mapping[str, Any], store: Path) -> Path:
    return store / stage["kind"] / stage["key"] / "record.json"
