"""The trials of a sweep, for its one writer: which are unfinished, which nobody wants any more, and how the others
ended.

All of it can be read again from the sweep's folder; keeping it saves the writer from doing so at every look.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.describe import trial_ending, trial_label
from ablations.ended import read_ended
from ablations.plan import Job, Trial
from ablations.snapshot import STATES
from ablations.stop_request import cancelled_trials
from ablations.store import Store, Warn
from ablations.trials import State, TrialFolders


class Ledger:
    def __init__(self, sweep: Path, store: Store, *, metric: str, say: Warn) -> None:
        """``metric`` is the sweep's objective. ``say`` is told of every trial that ends."""
        self.folders = TrialFolders(sweep, store)
        self.records: dict[str, dict[str, Any]] = {}
        """Records of the trials that have ended, by key."""
        self.unfinished: dict[str, Trial] = {}
        """Unfinished trials by key; a cancelled one stays until its job has ended."""
        self._sweep = sweep
        self._metric = metric
        self._say = say
        self._cancelled: set[str] = set()
        self._counts: Counter[str] = Counter()
        """Number of ended trials by state."""
        self._ended_before = {key: record.get("state") for key, record in read_ended(sweep).items()}

    def knows(self, trial: Trial) -> bool:
        return any(trial.key in known for known in (self.records, self.unfinished, self._cancelled))

    def had_ended(self, trial: Trial, state: State) -> bool:
        """Whether it had already ended like this before this process began, and was reported then."""
        return self._ended_before.get(trial.key) == state

    def is_wanted(self, job: Job) -> bool:
        """Whether a trial that is still to be finished may need the job."""
        if job.trial is not None:
            return job.trial.key not in self._cancelled
        wanted = (trial for key, trial in self.unfinished.items() if key not in self._cancelled)
        return any(stage.key == job.key for trial in wanted for stage in trial.stages)

    def heed_cancelled(self) -> set[str]:
        """Keys of the unfinished trials that somebody has cancelled by now. Raises ``OSError``."""
        unwanted = cancelled_trials(self._sweep) & self.unfinished.keys()
        self._cancelled |= unwanted
        return unwanted

    def leave_out(self, trial: Trial, *, quietly: bool = True) -> None:
        """Drop a cancelled trial whose job has ended or never began."""
        del self.unfinished[trial.key]
        self._counts["cancelled"] += 1
        if not quietly:
            self._say(f"{trial_label(trial)}: cancelled")

    def finish(
        self,
        trial: Trial,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
        quietly: bool = False,
    ) -> None:
        """Note that a trial has ended, and write its record. Raises ``OSError``."""
        del self.unfinished[trial.key]
        record = self.folders.finish(trial, state, metric=self._metric, result=result, failure=failure)
        self.records[trial.key] = record
        self._counts[state] += 1
        if not quietly:
            self._say(trial_ending(trial, record, self._metric))

    def counts(self, *, running: int) -> dict[str, int]:
        """Number of trials by state, for every state of ``STATES``."""
        waiting = len(self.unfinished) - running
        return {**dict.fromkeys(STATES, 0), **self._counts, "running": running, "waiting": waiting}
