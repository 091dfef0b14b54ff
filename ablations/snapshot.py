"""How a sweep stands at one moment: what the live display, ``ablate status`` and the end of a run show."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATES = ("done", "pruned", "diverged", "failed", "running", "waiting")
"""Of a trial. The first four are ends; a failed one is tried again by the next run."""

_TAIL = 4096
"""Bytes at the end of a spool that surely hold a whole line."""


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A job that somebody works on."""

    name: str
    label: str
    """Arm and seed, or what the shared stage is."""
    kind: str
    """The stage it is at."""
    key: str
    work: Path
    """That stage's work folder."""
    steps: int | None
    """Optimizer steps of that stage in all, where it has any."""
    started: float | None
    """Unix time."""


@dataclass(frozen=True, kw_only=True)
class Status:
    name: str
    counts: Mapping[str, int]
    """Trials by state; every state of ``STATES`` is there."""
    running: tuple[RunningJob, ...]
    problem: str = ""
    """Why no further jobs are started, where that is so."""

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


def read_running(folder: Path, store: Path) -> tuple[RunningJob, ...]:
    """The jobs in ``running.json``; they mean something only while the sweep's lease is held."""
    try:
        listed = json.loads((folder / "running.json").read_bytes())["jobs"]
    except (FileNotFoundError, ValueError):
        return ()
    return tuple(running_job(one, store) for one in listed)


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
