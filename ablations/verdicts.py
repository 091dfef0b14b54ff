"""What a run has learnt from its attempts: how often each job was tried, what is not tried again, when to give up.

All of it is in ``attempts.jsonl`` as well, so that the next process of the run knows the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ablations.attempts import DONE, Attempt, AttemptsFile
from ablations.backlog import Work
from ablations.failures import fingerprint
from ablations.outcome import RETRIES, Outcome
from ablations.plan import Trial
from ablations.stages import Stage
from slurm.launcher import Job

SAME_FAILURES = 3
"""Once this many jobs, of as many arms, have failed in the same way before anything of their kind worked, no further
ones are tried."""

_MOST_AVOIDED = 3
"""Most nodes that are avoided: on a small cluster a job must still find a place."""


class Verdicts:
    """The verdicts of one run, for the one writer of its sweep."""

    def __init__(self, sweep: Path, *, continuing: bool, trials: Iterable[Trial]) -> None:
        """``continuing``: carry on the run that an earlier process began; ``trials`` are all of its trials. Raises
        ``OSError``."""
        self._file = AttemptsFile(sweep)
        self._begun = continuing
        self._kinds_done: set[str] = set()
        """Kinds of stages that some job of this run got through."""
        self._failed: dict[str, dict[str, Any]] = {}
        """Failures of stages that are not tried again in this run, by the stage's key."""
        self._same: dict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        """Kind of stage and fingerprint of a failure, to the jobs and the arms that had it."""
        self._endings: dict[str, Counter[Outcome]] = defaultdict(Counter)
        """How attempts at a job ended since it last got further, by the job's name."""
        self._reached: dict[str, tuple[int, int]] = {}
        """How far each job got, by name: the number of stages left, negative, and the newest checkpoint of the first of
        them."""
        self._memory_faults: Counter[str] = Counter()
        self._avoided: dict[str, list[str]] = defaultdict(list)
        self._settled: set[tuple[str, int]] = set()
        if continuing:
            self._remember(list(trials))

    def begin(self) -> None:
        """Note that the first job starts: what earlier runs noted no longer counts. Raises ``OSError``."""
        if not self._begun:
            self._begun = True
            self._file.begin()

    @property
    def continuing(self) -> bool:
        return self._begun

    def is_settled(self, job: str, attempt: int) -> bool:
        """Whether an earlier process of this run took note of how the attempt ended."""
        return (job, attempt) in self._settled

    def memory_faults(self, job: str) -> int:
        """How often the job ran out of memory in this run."""
        return self._memory_faults[job]

    def avoided(self, job: str) -> tuple[str, ...]:
        """Nodes that lately failed under the job."""
        return tuple(self._avoided[job][-_MOST_AVOIDED:])

    def failure(self, stage: Stage) -> dict[str, Any] | None:
        """Why a stage is not tried again; ``None`` where it may be."""
        return self._failed.get(stage.key)

    def forbid(self, stage: Stage, failure: Mapping[str, Any]) -> None:
        """Do not try a stage, because of a failure of an earlier run."""
        self._failed[stage.key] = {"stage": f"{stage.kind}/{stage.key}", **failure}

    def done(self, work: Work, recorded: Iterable[Stage], outcome: str = DONE) -> None:
        """Note an attempt that left nothing to do, or nothing that is wanted. Raises ``OSError``."""
        self._write(work, outcome, recorded)

    def passed(self, job: Job, seconds: float | None) -> None:
        """Note that a job of an earlier process has ended, and that nothing needs it any more. Raises ``OSError``."""
        kinds = tuple(sorted({stage["kind"] for stage in job.payload["stages"]}))
        self._kinds_done.update(kinds)
        attempt = Attempt(
            job=job.name, number=job.payload["attempt"], outcome=DONE, kinds=kinds, seconds=round(seconds or 0.0, 3)
        )
        self._file.note(attempt)

    def ended(
        self, work: Work, outcome: Outcome, recorded: Iterable[Stage], *, left: int, step: int, node: str | None
    ) -> bool:
        """Note an attempt that did not finish its job: ``left`` stages have no record, and the first of them has a
        checkpoint at ``step``. Returns whether to try again; if not, ``give_up`` follows. Raises ``OSError``."""
        node = node if outcome == Outcome.NODE_FAILED else None
        self._count(work.name, outcome, left, step, node)
        if self._endings[work.name][outcome] > RETRIES[outcome]:
            return False
        self._write(work, outcome, recorded, left=left, step=step, node=node)
        return True

    def _count(self, job: str, outcome: Outcome, left: int, step: int, node: str | None) -> None:
        """Count an ending. A job that got further may be tried as often as at first: a long training on a cluster is
        preempted many times."""
        if (-left, step) > self._reached.setdefault(job, (-left, step)):
            self._reached[job] = -left, step
            self._endings[job].clear()
        self._endings[job][outcome] += 1
        self._memory_faults[job] += outcome == Outcome.OUT_OF_MEMORY
        if node is not None:
            self._avoided[job].append(node)

    def give_up(
        self,
        work: Work,
        outcome: Outcome,
        recorded: Iterable[Stage],
        *,
        stage: Stage,
        failure: Mapping[str, Any],
        trials: Iterable[Trial],
    ) -> None:
        """Do not try a stage again in this run; ``trials`` are those that may need it. Raises ``OSError``."""
        self._write(work, outcome, recorded, stage=stage.key, failure=failure)
        self._note_failure(work.name, stage.key, failure, trials)

    def problem(self, num_arms: int) -> str:
        """Why no further jobs are started; empty if they are. It goes away if a running job shows otherwise."""
        for (kind, _), (names, arms) in self._same.items():
            everywhere = len(arms) >= min(SAME_FAILURES, num_arms)
            if kind not in self._kinds_done and len(names) >= SAME_FAILURES and everywhere:
                return f"{len(names)} jobs failed in the same way in the stage {kind}, and none got through it"
        return ""

    def _remember(self, trials: list[Trial]) -> None:
        for attempt in self._file.read():
            self._settled.add((attempt.job, attempt.number))
            self._kinds_done.update(attempt.kinds)
            if attempt.outcome in RETRIES:
                self._count(attempt.job, Outcome(attempt.outcome), attempt.left, attempt.step, attempt.node)
            if attempt.stage is not None and attempt.failure is not None:
                self._failed[attempt.stage] = dict(attempt.failure)
                if not attempt.excused:
                    self._note_failure(attempt.job, attempt.stage, attempt.failure, trials)

    def _note_failure(self, job: str, stage: str, failure: Mapping[str, Any], trials: Iterable[Trial]) -> None:
        self._failed[stage] = dict(failure)
        if failure["class"] in ("code_error", "data_error", "config_error"):
            names, arms = self._same[failure["stage"].partition("/")[0], fingerprint(failure)]
            names.add(job)
            arms.update(trial.arm.key for trial in trials if any(one.key == stage for one in trial.stages))

    def _write(
        self,
        work: Work,
        outcome: str,
        recorded: Iterable[Stage],
        *,
        left: int = 0,
        step: int = 0,
        node: str | None = None,
        stage: str | None = None,
        failure: Mapping[str, Any] | None = None,
    ) -> None:
        kinds = tuple(sorted({one.kind for one in recorded}))
        self._kinds_done.update(kinds)
        self._file.note(
            Attempt(
                job=work.name,
                number=work.attempt,
                outcome=outcome,
                left=left,
                step=step,
                node=node,
                kinds=kinds,
                stage=stage,
                failure=failure,
                seconds=round(work.seconds, 3),
            )
        )
