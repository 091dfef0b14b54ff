"""The errors of the model core. Each message says what, where, what is allowed and what to do."""

from collections.abc import Sequence


class ConfigError(ValueError):
    """A configuration that cannot be run.

    ``key`` is the dotted path of the offending field. Where a name is not among those known, ``written`` is the name
    and ``known`` what it can be, so that a reader of files can say which one is closest.
    """

    def __init__(self, key: str, problem: str, *, written: str = "", known: Sequence[str] = ()) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem
        self.written = written
        self.known = tuple(known)


class DataError(RuntimeError):
    """Data that cannot be used: a sample whose images and placeholders differ, too many broken members, no items."""


class Diverged(RuntimeError):
    """The loss or a gradient is no longer finite. The trial is kept as diverged and is not retried."""


class Interrupted(RuntimeError):
    """Work stopped on request after its state was saved; running the stage again continues it.

    ``reason`` is ``"preempted"`` (run again) or ``"pruned"`` (the sweep gave the trial up).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"stopped on request: {reason}")
        self.reason = reason


class StorageError(RuntimeError):
    """The work folder cannot be written: a full disk, a quota, a folder without permission."""
