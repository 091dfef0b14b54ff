"""The jobs of a sweep that the launcher has and that are not settled yet: a data structure for its one writer."""

import time
from collections.abc import Mapping

from ablations.backlog import Work
from slurm.launcher import JobState, JobStatus


class ActiveJobs:
    def __init__(self) -> None:
        self.works: dict[str, Work] = {}
        """Active jobs by name."""
        self._queued: set[str] = set()
        """Names of the jobs that the launcher has not started yet."""

    def note_started(self, statuses: Mapping[str, JobStatus]) -> None:
        """Set the start of the jobs that have left the launcher's queue since the last call."""
        queued = {name for name, status in statuses.items() if status.state == JobState.QUEUED}
        for name in self._queued - queued:
            if name in self.works:
                self.works[name].started = time.time()
        self._queued = queued

    def is_queued(self, name: str) -> bool:
        return name in self._queued

    def queued(self) -> list[Work]:
        return [self.works[name] for name in sorted(self._queued & self.works.keys())]

    def running(self) -> list[Work]:
        return [work for name, work in self.works.items() if name not in self._queued]

    def by_trial(self) -> dict[str, str]:
        """Names of jobs by the key of their trial; shared stages belong to none."""
        return {work.job.trial.key: name for name, work in self.works.items() if work.job.trial is not None}
