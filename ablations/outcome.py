"""How an attempt at a job ended, from what the launcher saw and what the job left, and whether to try again. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from ablations.crew import EXIT_LOST
from ablations.job import EXIT_HELD, EXIT_STORE
from slurm.launcher import EXIT_INTERRUPTED, JobState, JobStatus


class Outcome(StrEnum):
    """How an attempt that did not finish all of its stages ended."""

    HELD = "held"
    """Another process works on the stage it needs."""
    INTERRUPTED = "interrupted"
    """It was asked to stop, and saved its state."""
    LOST = "lost"
    """Whatever ran it is gone, or one of its own processes."""
    NODE_FAILED = "node_failed"
    """The node is to blame; the next attempt runs elsewhere."""
    UNWRITABLE = "unwritable"
    """The store could not be written."""
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    """The next attempt computes in smaller parts."""
    DIVERGED = "diverged"
    FAILED = "failed"
    """Wrong code, data or configuration: another attempt would end the same way."""


RETRIES: Mapping[Outcome, int] = {
    Outcome.INTERRUPTED: 10,
    Outcome.LOST: 10,
    Outcome.NODE_FAILED: 5,
    Outcome.KILLED: 2,
    Outcome.OUT_OF_MEMORY: 1,
    Outcome.DIVERGED: 0,
    Outcome.FAILED: 0,
}
"""Further attempts within a run since the job last got further; a new run starts the count again."""

_BY_CLASS = {
    "out_of_memory": Outcome.OUT_OF_MEMORY,
    "diverged": Outcome.DIVERGED,
    "killed": Outcome.KILLED,
    "node_fault": Outcome.NODE_FAILED,
}


def outcome_of(status: JobStatus, failure: Mapping[str, Any] | None) -> Outcome:
    """``failure`` is what this attempt left in the ``failure.json`` of the stage it did not finish."""
    if status.node_failed:
        return Outcome.NODE_FAILED
    if status.state in (JobState.LOST, JobState.CANCELLED):
        return Outcome.LOST
    if status.out_of_memory:
        return Outcome.OUT_OF_MEMORY
    if status.state == JobState.KILLED and failure is None:
        return Outcome.KILLED
    if status.exit_code == EXIT_HELD:
        return Outcome.HELD
    if status.exit_code == EXIT_LOST:
        return Outcome.LOST
    if status.exit_code == EXIT_INTERRUPTED:
        return Outcome.INTERRUPTED
    if status.exit_code == EXIT_STORE:
        return Outcome.UNWRITABLE
    return _BY_CLASS.get(failure["class"], Outcome.FAILED) if failure else Outcome.FAILED
