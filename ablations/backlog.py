"""The jobs that are left to do, and which of them can start: a data structure, without disk or clock.

A job is ready when every stage it needs from other jobs is recorded. Jobs come out in order: stages that several trials
need first, since others wait for them, then trials in the plan's order.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ablations.plan import Job, Trial, jobs
from ablations.stages import Stage

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds before looking again at a stage that somebody else works on; doubled each time."""


@dataclass(eq=False, kw_only=True)
class Work:
    """A job of the plan, and how far it is."""

    job: Job
    name: str
    order: tuple[int, int]
    missing: set[str]
    """Keys of stages that must be recorded first."""
    attempt: int = 0
    """Number of the newest attempt, former runs included."""
    started: float = 0.0
    """Unix time of the newest attempt."""
    seconds: float = 0.0
    """For which its newest attempt that ended held its resources."""
    wait: float = _FIRST_WAIT
    look_again: float = 0.0
    over: bool = False
    """It was given up."""

    def __lt__(self, other: "Work") -> bool:
        return self.order < other.order


class Backlog:
    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        """Every job that is not over, by name."""
        self._ready: list[Work] = []
        self._held: list[Work] = []
        self._waiting: dict[str, list[Work]] = {}
        """By the key of a stage, who needs it."""

    def regroup(
        self, trials: Iterable[Trial], finished: Callable[[Stage], bool], running: Iterable[Work]
    ) -> list[Work]:
        """Group the work left for ``trials`` into jobs; those that run stay as they are. The others, all of them."""
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
        """A job that is not over."""
        return self._works.get(name)

    def take(self, now: float) -> Work | None:
        """The first job that can start, taken out; ``None`` if there is none at this time."""
        for work in [work for work in self._held if work.look_again <= now]:
            self._held.remove(work)
            heapq.heappush(self._ready, work)
        while self._ready:
            work = heapq.heappop(self._ready)
            if not work.over:
                return work
        return None

    def again(self, work: Work) -> None:
        """Put a job back whose attempt is to be repeated."""
        heapq.heappush(self._ready, work)

    def hold(self, work: Work, now: float) -> None:
        """Put a job back that somebody else keeps from starting, to be looked at again later."""
        work.look_again = now + work.wait
        work.wait = min(_LONGEST_WAIT, 2 * work.wait)
        self._held.append(work)

    def recorded(self, key: str) -> None:
        """A stage has its record: who waited for nothing else is ready."""
        for work in self._waiting.pop(key, ()):
            work.missing.discard(key)
            if not work.missing and not work.over:
                heapq.heappush(self._ready, work)

    def give_up(self, work: Work) -> Iterator[Work]:
        """A job will not be finished: it and all that need one of its stages, each once."""
        if work.over:
            return
        work.over = True
        yield work
        for stage in work.job.stages:
            for waiter in self._waiting.pop(stage.key, ()):
                yield from self.give_up(waiter)


def job_name(job: Job) -> str:
    """Stable across runs: the name of its logs, and of the job in the launcher."""
    return f"{job.stages[-1].kind}-{job.key}" if job.trial is None else f"trial-{job.trial.key}"
