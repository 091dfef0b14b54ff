"""The errors of the model core. Each message says what, where, what is allowed and what to do."""


class ConfigError(ValueError):
    """A configuration that cannot be run. ``key`` is the dotted path of the offending field."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


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
