"""Requests to stop a sweep: files in its folder, for the process that carries it on, wherever that runs.

``stop`` is about the whole sweep, ``cancelled/<key>`` about one trial. They hold until somebody wants the work again.
"""

import os
from collections.abc import Collection
from pathlib import Path

_TRIALS = "cancelled"


def request_stop(sweep: Path, *, kill: bool, trial: str | None = None) -> None:
    """Raises ``OSError``."""
    path = _request(sweep, trial)
    path.parent.mkdir(exist_ok=True)
    path.write_text("kill" if kill else "save")


def stop_requested(sweep: Path, trial: str | None = None) -> int:
    """0: no; 1: running jobs are to save their state first; 2: they are to be ended at once."""
    try:
        return 2 if _request(sweep, trial).read_text() == "kill" else 1
    except FileNotFoundError:
        return 0


def cancelled_trials(sweep: Path) -> Collection[str]:
    """Keys of the trials that are no longer wanted."""
    try:
        return set(os.listdir(sweep / _TRIALS))
    except FileNotFoundError:
        return ()


def clear_stop(sweep: Path, trials: Collection[str] | None = None) -> None:
    """Clear the requests, because the sweep is wanted again and, of the cancelled trials, these, by key; ``None`` for
    all of them. Raises ``OSError``."""
    (sweep / "stop").unlink(missing_ok=True)
    for trial in cancelled_trials(sweep) if trials is None else trials:
        _request(sweep, trial).unlink(missing_ok=True)


def _request(sweep: Path, trial: str | None) -> Path:
    return sweep / "stop" if trial is None else sweep / _TRIALS / trial
