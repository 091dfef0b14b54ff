"""Requests to stop, for whoever carries a sweep on, wherever that is: files in the sweep's folder.

``stop`` is about all of it, ``cancelled/<key>`` about one trial. They hold until somebody wants the work again.
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
    """0: no; 1: what runs is to save its state first; 2: it is to be ended at once."""
    try:
        return 2 if _request(sweep, trial).read_text() == "kill" else 1
    except FileNotFoundError:
        return 0


def cancelled_trials(sweep: Path) -> Collection[str]:
    """Keys of the trials that are not wanted."""
    try:
        return set(os.listdir(sweep / _TRIALS))
    except FileNotFoundError:
        return ()


def clear_stop(sweep: Path, trials: Collection[str] | None = None) -> None:
    """Somebody wants the sweep again, and of what was cancelled these trials, by key; ``None`` for all of it. Raises
    ``OSError``."""
    (sweep / "stop").unlink(missing_ok=True)
    for trial in cancelled_trials(sweep) if trials is None else trials:
        _request(sweep, trial).unlink(missing_ok=True)


def _request(sweep: Path, trial: str | None) -> Path:
    return sweep / "stop" if trial is None else sweep / _TRIALS / trial
