"""The jobs that are left to do, and which of them can start: a data structure, without disk or clock.

A job is ready when every stage it needs from other jobs is recorded. Jobs come out in order: first the stages that
several trials need, since other jobs wait for them, then trials in the plan's order.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ablations.plan import Job, Trial, jobs
from ablations.stages import Stage

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds before looking again at a stage that another process works on; doubled each time."""


@dataclass(eq=False, kw_only=True)
class Work:
    """A job of the plan, and how far it has got."""

    job: Job
    name: str
    order: tuple[int, int]
    missing: set[str]
    """Keys of stages that must be recorded first."""
    attempt: int = 0
    """Number of the newest attempt, including those of former runs."""
    started: float = 0.0
    """Unix time at which the newest attempt started."""
    seconds: float = 0.0
    """How long the newest attempt that has ended held its resources."""
    wait: float = _FIRST_WAIT
    look_again: float = 0.0
    over: bool = False
    """Whether it was given up."""

    def __lt__(self, other: "Work") -> bool:
        return self.order < other.order


class Backlog:
    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        """Every job that is not over, by name."""
        self._ready: list[Work] = []
        self._held: list[Work] = []
        self._waiting: dict[str, list[Work]] = {}
        """The jobs that need a stage, by the stage's key."""

    def regroup(
        self, trials: Iterable[Trial], finished: Callable[[Stage], bool], running: Iterable[Work]
    ) -> list[Work]:
        """Group the work left for ``trials`` into jobs, leaving those that run as they are. Returns all the others."""
        active = {work.name: work for work in running}
        busy = {stage.key for work in active.values() for stage in work.job.stages}
        known, self._works = self._works, active
        self._ready, self._held, self._waiting = [], [], {}
        works = []
        for index, job in enumerate(jobs(trials, finished)):
            name = job_name(job)
            if name in active:
                continue
            missing = set(job.after) | {stage.key for stage in job.stages if stage.key in busy}
            work = Work(job=job, name=name, order=(int(job.trial is not None), index), missing=missing)
            if name in known:
                work.attempt = known[name].attempt
            self._works[name] = work
            works.append(work)
            for key in missing:
                self._waiting.setdefault(key, []).append(work)
            if not missing:
                heapq.heappush(self._ready, work)
        return works

    def find(self, name: str) -> Work | None:
        """The job of this name, if it is not over."""
        return self._works.get(name)

    def take(self, now: float) -> Work | None:
        """Take out the first job that can start; ``None`` if there is none at this time."""
        for work in [work for work in self._held if work.look_again <= now]:
            self._held.remove(work)
            heapq.heappush(self._ready, work)
        while self._ready:
            work = heapq.heappop(self._ready)
            if not work.over:
                return work
        return None

    def again(self, work: Work) -> None:
        """Put back a job whose attempt is to be repeated."""
        heapq.heappush(self._ready, work)

    def hold(self, work: Work, now: float) -> None:
        """Put back a job that another process keeps from starting, to be looked at again later."""
        work.look_again = now + work.wait
        work.wait = min(_LONGEST_WAIT, 2 * work.wait)
        self._held.append(work)

    def recorded(self, key: str) -> None:
        """Note that a stage has its record: jobs that waited for nothing else are ready."""
        for work in self._waiting.pop(key, ()):
            work.missing.discard(key)
            if not work.missing and not work.over:
                heapq.heappush(self._ready, work)

    def give_up(self, work: Work) -> Iterator[Work]:
        """Give up a job. Yields it and all jobs that need one of its stages, each once."""
        if work.over:
            return
        work.over = True
        yield work
        for stage in work.job.stages:
            for waiter in self._waiting.pop(stage.key, ()):
                yield from self.give_up(waiter)


def job_name(job: Job) -> str:
    """The name of a job's logs, and of the job in the launcher; stable across runs."""
    return f"{job.stages[-1].kind}-{job.key}" if job.trial is None else f"trial-{job.trial.key}"
