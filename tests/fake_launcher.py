"""A launcher that starts no process: jobs take time on a clock that moves only when somebody waits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slurm.launcher import Job, JobState, JobStatus


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What a job does in place of running."""

    seconds: float = 0.0
    act: Callable[[], JobStatus]
    """Called when the time is over; says how the job ended."""
    on_cancel: Callable[[], JobStatus] | None = None
    """Called at a polite cancel; ``None``: the job dies of SIGTERM."""


def exited(code: int) -> JobStatus:
    return JobStatus(state=JobState.FAILED if code else JobState.SUCCEEDED, exit_code=code)


def killed(signal: int) -> JobStatus:
    return JobStatus(state=JobState.KILLED, signal=signal)


class FakeLauncher:
    def __init__(self, simulate: Callable[[Job], Simulation], *, capacity: int, gpus: int = 0) -> None:
        self._simulate = simulate
        self._capacity = capacity
        self._num_gpus = self._free_gpus = gpus
        self.now = 0.0
        self.submitted: list[str] = []
        """Names in the order of submission, repeats included."""
        self.sent: dict[str, Job] = {}
        """The newest job of each name."""
        self._statuses: dict[str, JobStatus] = {}
        self._queue: list[Job] = []
        self._running: dict[str, tuple[float, Job, Simulation]] = {}
        self._changed = False
        self._inherited: dict[str, Job] = {}

    @property
    def capacity(self) -> int:
        return self._capacity

    def inherited(self) -> Mapping[str, Job]:
        return {name: job for name, job in self._inherited.items() if name in self._statuses}

    def submit(self, job: Job) -> None:
        if job.name in self._statuses:
            raise ValueError(f"{job.name} was already submitted")
        if job.resources.gpus > self._num_gpus:
            raise ValueError(f"{self._num_gpus} GPUs are not enough")
        self.submitted.append(job.name)
        self.sent[job.name] = job
        self._set(job.name, JobStatus(state=JobState.QUEUED))
        self._queue.append(job)
        self._start()

    def jobs(self) -> Mapping[str, JobStatus]:
        return dict(self._statuses)

    def forget(self, name: str) -> None:
        if not self._statuses[name].state.ended:
            raise ValueError(f"{name} has not ended")
        del self._statuses[name]

    def wait(self, timeout: float) -> None:
        if not self._changed:
            self.now = min([self.now + timeout, *(end for end, _, _ in self._running.values())])
            for name, (end, _, simulation) in list(self._running.items()):
                if end <= self.now:
                    self._end(name, simulation.act())
        self._changed = False

    def cancel(self, name: str, *, kill: bool = False) -> None:
        if name in self._running:
            polite = self._running[name][2].on_cancel
            self._end(name, killed(9) if kill else polite() if polite else killed(15))
        elif any(job.name == name for job in self._queue):
            self._queue = [job for job in self._queue if job.name != name]
            self._set(name, JobStatus(state=JobState.CANCELLED))

    def inherit(self, job: Job) -> None:
        """What a launcher before this one left: a job in the queue."""
        self.submit(job)
        self._inherited[job.name] = job

    def left_alone(self) -> None:
        """What a process that ends without closing the launcher leaves to the next one: all that is not forgotten."""
        self._inherited = {name: self.sent[name] for name in self._statuses}

    def lose(self, name: str) -> None:
        """What happens to jobs when the machinery that runs them dies."""
        self._end(name, JobStatus(state=JobState.LOST))

    def close(self) -> None:
        self._running.clear()

    def _start(self) -> None:
        while self._queue and len(self._running) < self._capacity:
            if self._queue[0].resources.gpus > self._free_gpus:
                return
            job = self._queue.pop(0)
            self._free_gpus -= job.resources.gpus
            simulation = self._simulate(job)
            self._running[job.name] = (self.now + simulation.seconds, job, simulation)
            self._set(job.name, JobStatus(state=JobState.RUNNING))

    def _end(self, name: str, status: JobStatus) -> None:
        self._free_gpus += self._running.pop(name)[1].resources.gpus
        self._set(name, status)
        self._start()

    def _set(self, name: str, status: JobStatus) -> None:
        self._statuses[name] = status
        self._changed = True
