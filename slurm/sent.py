"""A job that was handed to SLURM, and what has become of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from slurm.batch import Batch, read_word, write_id
from slurm.ending import status_of
from slurm.launcher import JobState, JobStatus
from slurm.queue import Seen

_WORD_PATIENCE = 30.0
"""Seconds until what a job wrote on its node is surely seen here; shared file systems lag."""
_UNSEEN_LOOKS = 2
"""A job that this many looks in a row do not find is lost."""


@dataclass(kw_only=True)
class Sent:
    batch: Batch
    index: int
    number: str | None
    """SLURM's number of the batch; ``None`` if it is not known whether SLURM has it."""
    unseen: int = 0
    """Looks in a row that did not find it."""
    over_since: float | None = None
    """When SLURM first called it over."""

    @property
    def id(self) -> str | None:
        return None if self.number is None else self.batch.job_id(self.number, self.index)

    @property
    def in_doubt(self) -> bool:
        """Whether another look may soon tell more: the job seems to be over, or SLURM does not know it (yet)."""
        return self.unseen > 0 or self.over_since is not None or self.number is None

    @property
    def never_arrived(self) -> bool:
        return self.number is None and self.unseen >= _UNSEEN_LOOKS

    def judge(self, seen: Mapping[str, Seen], now: float, *, cancelled: bool) -> JobStatus | None:
        """The status of the job by what SLURM shows; ``None`` if that does not say. ``cancelled``: it was asked to
        end."""
        if self.number is None and (number := _number_of(self.batch, seen)) is not None:
            self.number = number
            write_id(self.batch, number)
        found = seen.get(self.id) if self.id is not None else None
        if found is None:
            self.unseen += 1
            lost = self.number is not None and self.unseen >= _UNSEEN_LOOKS
            return self._vanished(cancelled=cancelled) if lost else None
        self.unseen = 0
        if not found.ended:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = now
        patient = self.over_since is None or now - self.over_since < _WORD_PATIENCE
        return status_of(found, read_word(self.batch, self.index), patient=patient)

    def _vanished(self, *, cancelled: bool) -> JobStatus:
        """The status of a job that SLURM no longer knows."""
        word = read_word(self.batch, self.index)
        if word is None and cancelled:  # SLURM at once forgets array jobs that were cancelled in the queue
            return JobStatus(state=JobState.CANCELLED)
        ended = None if word is None else status_of(Seen(state="COMPLETED"), word, patient=True)
        return ended or JobStatus(state=JobState.LOST, problem=f"SLURM does not know job {self.id} any more")

    def by_its_word(self) -> JobStatus | None:
        """The status of the job by what its script wrote alone; ``None`` if only SLURM can say: whether a job that did
        not succeed is queued again, or was ended from outside."""
        word = read_word(self.batch, self.index)
        if word is None:
            return JobStatus(state=JobState.QUEUED)
        if word.exit_code is None:
            return JobStatus(state=JobState.RUNNING, node=word.node)
        if word.exit_code:
            return None
        return JobStatus(state=JobState.SUCCEEDED, exit_code=0, node=word.node)


def _number_of(batch: Batch, seen: Mapping[str, Seen]) -> str | None:
    """SLURM's number of a batch, found by the comment of its jobs."""
    for name, one in seen.items():
        if one.comment.startswith(f"{batch.mark}:"):
            return name.partition("_")[0]
    return None
