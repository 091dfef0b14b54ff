"""What every launcher offers: run named jobs somewhere, say how each one ended.

A job is a function named ``module:function``, called with one JSON object in a process of its own, its output in a log
file of its own. A launcher knows nothing of what its jobs do and decides nothing: no retries, no order beyond first
come, first served. Whatever it reports is a state that can be read again, not an event that can be missed: a job stays
in ``jobs()`` until ``forget`` is called.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

EXIT_OK = 0
EXIT_ERROR = 1
"""The function raised; the traceback is in the log."""
EXIT_INTERRUPTED = 75
"""The job saved its state on request and wants to be run again (EX_TEMPFAIL of sysexits.h)."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""How many threads libraries start; set to a job's cores before it loads any."""


class LauncherError(RuntimeError):
    """The launcher itself cannot work; no job is to blame. Says why and what to do."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Ended with exit code 0."""
    FAILED = "failed"
    """Ended by itself with another exit code, or could not be started (``problem`` says why)."""
    KILLED = "killed"
    """Ended by a signal."""
    CANCELLED = "cancelled"
    """Taken out of the queue before it started."""
    LOST = "lost"
    """Gone without a word, because what ran it is gone; it may be run again."""

    @property
    def ended(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one job gets."""

    cpus: int = 1
    """Threads of each process."""
    gpus: int = 0
    """Whole devices on each node; with 0 the job sees none."""
    nodes: int = 1
    """Nodes of a cluster. With more than one, or several GPUs, the job is a process for each GPU (each node, without
    GPUs), and ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` tell each which one it
    is."""
    memory: str | None = None
    """Such as ``64G``. This and ``time`` are for launchers that can hold a job to them; others ignore them."""
    time: str | None = None
    """Longest run, as hours:minutes:seconds or days-hours:minutes:seconds."""
    avoid: tuple[str, ...] = ()
    """Nodes not to run on, by the scheduler's names."""

    @property
    def processes_per_node(self) -> int:
        return max(1, self.gpus)

    @property
    def processes(self) -> int:
        return self.nodes * self.processes_per_node


@dataclass(frozen=True, kw_only=True)
class Job:
    name: str
    """Unique among the jobs a launcher knows at a time."""
    target: str
    """``module:function``; called as ``function(payload)``. It returns its exit code, or ``None`` for 0."""
    payload: Mapping[str, Any]
    """JSON values only."""
    log: Path
    """Standard output and error are appended to this file. Its folder exists."""
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    state: JobState
    exit_code: int | None = None
    """Set where the job ended by itself."""
    signal: int | None = None
    """Set where a signal ended it."""
    pid: int | None = None
    """Process on this machine, where there is one."""
    node: str | None = None
    """Where it ran, by the scheduler's name, on a cluster."""
    seconds: float | None = None
    """How long it held its resources, if the launcher knows that better than its caller."""
    node_failed: bool = False
    """Whether it was lost because its node was."""
    out_of_memory: bool = False
    """Whether it was ended because it needed more memory than it had asked for."""
    problem: str = ""
    """Why the job could not be started, was lost, or was ended from outside."""


class Launcher(Protocol):
    @property
    def capacity(self) -> int:
        """Most jobs that run side by side; submitting more is allowed, they wait their turn."""
        ...

    def inherited(self) -> Mapping[str, Job]:
        """Jobs of an earlier launcher that it did not forget, by name. They are in ``jobs()`` like those submitted
        here, even if they have ended since. Empty if jobs end with their launcher."""
        ...

    def submit(self, job: Job) -> None:
        """Queue a job. Raises ``ValueError`` for a name that is known and not forgotten, or resources that no machine
        here has; a launcher that cannot know that by itself reports the job as failed, with its ``problem``.
        ``LauncherError`` where nothing can be run at all."""
        ...

    def jobs(self) -> Mapping[str, JobStatus]:
        """Every job submitted and not forgotten, ended ones included. Does not wait."""
        ...

    def forget(self, name: str) -> None:
        """Drop an ended job, so that its name can be used again."""
        ...

    def wait(self, timeout: float) -> None:
        """Return once ``jobs()`` has changed, at once if it did since the last call, or after ``timeout`` seconds."""
        ...

    def cancel(self, name: str, *, kill: bool = False) -> None:
        """Ask a running job to stop (SIGTERM), or with ``kill`` end it (SIGKILL). A queued one is taken out. Nothing
        happens to one that has ended."""
        ...

    def close(self) -> None:
        """End every job and free what the launcher holds. No method but this one may be called afterwards."""
        ...
