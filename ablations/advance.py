"""The one writer of a sweep: reads the folders and the launcher, decides what is to be done next, and does it.

``Dispatcher.advance`` may be called at any time and any number of times. What it knows can be read again from the
store and the launcher, so whoever is started next, after any kill, decides the same. What it keeps in memory (which
stages are recorded, who waits for which) only spares it from reading everything again at every call. How often what was
tried is in ``attempts.jsonl``: a run may be carried on by many processes after each other.

A stage that fails takes along the trials that need it and no others.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.backlog import Backlog, Work
from ablations.describe import trial_ending, trial_label
from ablations.ended import read_ended
from ablations.errors import StoreError
from ablations.failures import FailureClass, without_exception
from ablations.job import TARGET, job_payload
from ablations.lease import holder
from ablations.less_memory import with_less_memory
from ablations.outcome import Outcome, outcome_of
from ablations.plan import Plan, Trial
from ablations.running import RunningFile, entry
from ablations.snapshot import STATES, Status, running_job
from ablations.stages import Stage
from ablations.stop_request import cancelled_trials, stop_requested
from ablations.store import StageFolder, Store, Warn, store_errors
from ablations.trials import State, TrialFolders
from ablations.verdicts import Verdicts
from slurm.launcher import Job, JobState, JobStatus, Launcher, Resources


class Dispatcher:
    def __init__(
        self,
        plan: Plan,
        *,
        store: Store,
        launcher: Launcher,
        resources: Resources,
        provenance: Callable[[], Mapping[str, Any]],
        say: Warn = lambda text: None,
        warn: Warn = lambda text: None,
        clock: Callable[[], float] = time.monotonic,
        continuing: bool = False,
        replacing: bool = False,
    ) -> None:
        """``provenance`` gives what is the same in all records of this run, and is asked when the first job starts.
        ``say`` is told of every trial that ends, ``warn`` of what a user must know. ``continuing``: carry on the run
        that an earlier process began, with its failures; else a new one begins. ``replacing``: jobs that wait in the
        launcher's queue are of another program, and are sent anew. Raises ``StoreError``."""
        self._store = store
        self._launcher = launcher
        self._resources = resources
        self._provenance = provenance
        self._say = say
        self._warn = warn
        self._clock = clock
        self._folder = store.sweep(plan.sweep.name)
        self._folders = TrialFolders(self._folder, store)
        self._backlog = Backlog()
        self._active: dict[str, Work] = {}
        self._queued: set[str] = set()
        """Of the active jobs, those that the launcher has not started yet."""
        self._unwanted: set[str] = set()
        """Jobs of an earlier run that nothing needs, until they have ended."""
        self.records: dict[str, dict[str, Any]] = {}
        """Records of the trials that have ended, by key."""
        self._counts: Counter[str] = Counter()
        """Ended trials by state."""
        self._unfinished: dict[str, Trial] = {}
        self._cancelled: set[str] = set()
        """Keys of trials that somebody cancelled; of the unfinished ones among them the job is about to end."""
        self._asked: dict[str, int] = {}
        """Jobs that were asked to end because nobody wants them, by name: 1 politely, 2 at once."""
        self._recorded: set[str] = set()
        self._examined: set[str] = set()
        self._running_file = RunningFile(self._folder)
        self._stopping = False
        self._trouble: StoreError | None = None
        """A job could not write the store."""
        self._ended_before = {key: record.get("state") for key, record in read_ended(self._folder).items()}
        with store_errors(self._store.root):
            self._verdicts = Verdicts(self._folder, continuing=continuing, trials=plan.trials)
        self.extend(plan)
        self._take_over(replacing=replacing)

    def extend(self, plan: Plan) -> None:
        """Take in the trials of ``plan``; those known already stay as they are. Raises ``StoreError``."""
        self._plan = plan
        with store_errors(self._store.root):
            for trial in plan.trials:
                if not any(trial.key in known for known in (self.records, self._unfinished, self._cancelled)):
                    self._admit(trial)
            self._regroup()

    def advance(self) -> Status:
        """Do everything that can be done now. Raises ``StoreError``, ``LauncherError``."""
        with store_errors(self._store.root):
            self._heed_cancelled()
            statuses = self._launcher.jobs()
            self._note_started(_queued(statuses))
            for name, status in statuses.items():
                if status.state.ended:
                    if name in self._active:
                        self._settle(self._active.pop(name), status)
                    self._unwanted.discard(name)
                    self._launcher.forget(name)  # last: what is not forgotten is settled by whoever comes next
            if self._trouble is not None:  # all else is settled, so whoever comes next starts anew
                trouble, self._trouble = self._trouble, None
                raise trouble
            while self._has_room() and (work := self._backlog.take(self._clock())) is not None:
                self._start(work)
            self._note_started(_queued(self._launcher.jobs()))
            self._running_file.update(self._running(), (self._active[name] for name in sorted(self._queued_jobs())))
            return self.status()

    @property
    def finished(self) -> bool:
        """Nothing runs, and nothing will be started by a further ``advance``."""
        return not self._active and (self._stopping or bool(self.problem) or not self._unfinished)

    @property
    def replaces(self) -> bool:
        """Whether jobs that nothing needs are still to end, so that others can take their place."""
        return bool(self._unwanted)

    @property
    def num_unfinished(self) -> int:
        return len(self._unfinished)

    @property
    def problem(self) -> str:
        """Why no further jobs are started; empty where they are."""
        return self._verdicts.problem(len(self._plan.arms))

    def stop(self, *, kill: bool = False) -> None:
        """Start nothing more, and ask what runs to save its state, or end it at once."""
        self._stopping = True
        for name in self._active:
            self._launcher.cancel(name, kill=kill)

    def prune(self, arm: str) -> None:
        """Give up the unfinished trials of an arm: the running ones stop at their next step. Raises ``StoreError``."""
        running = {work.job.trial.key: name for name, work in self._active.items() if work.job.trial is not None}
        with store_errors(self._store.root):
            for trial in [trial for trial in self._unfinished.values() if trial.arm.key == arm]:
                marker = self._folders.marker(trial)
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()
                if trial.key not in running:
                    self._finish(trial, "pruned")
                elif running[trial.key] in self._queued:
                    self._launcher.cancel(running[trial.key])
            self._regroup()

    def _heed_cancelled(self) -> None:
        """Give up the trials that somebody cancelled, and ask what runs or is queued for them alone to end."""
        unwanted = cancelled_trials(self._folder) & self._unfinished.keys()
        if not unwanted:
            return
        self._cancelled |= unwanted
        begun = {work.job.trial.key for work in self._active.values() if work.job.trial is not None}
        if idle := unwanted - begun:
            for key in idle:
                self._leave_out(self._unfinished[key])
            self._regroup()
        for name, work in self._active.items():
            if not self._is_wanted(work):
                trial = work.job.trial
                how = 1 if trial is None else stop_requested(self._folder, trial.key)
                if how > self._asked.get(name, 0):
                    self._asked[name] = how
                    self._launcher.cancel(name, kill=how > 1)

    def _is_wanted(self, work: Work) -> bool:
        """Whether a trial that is to be finished may need it."""
        if work.job.trial is not None:
            return work.job.trial.key not in self._cancelled
        wanted = (trial for key, trial in self._unfinished.items() if key not in self._cancelled)
        return any(stage.key == work.job.key for trial in wanted for stage in trial.stages)

    def _leave_out(self, trial: Trial) -> None:
        del self._unfinished[trial.key]
        self._counts["cancelled"] += 1

    def status(self) -> Status:
        counts = {**dict.fromkeys(STATES, 0), **self._counts}
        counts["running"] = sum(work.job.trial is not None for work in self._running())
        counts["waiting"] = len(self._unfinished) - counts["running"]
        running = tuple(running_job(entry(work), self._store.root) for work in self._running())
        return Status(
            name=self._plan.sweep.name,
            counts=counts,
            running=running,
            queued=len(self._queued_jobs()),
            problem=self.problem,
        )

    def _running(self) -> list[Work]:
        return [work for name, work in self._active.items() if name not in self._queued]

    def _queued_jobs(self) -> set[str]:
        return self._queued & self._active.keys()

    def _note_started(self, queued: set[str]) -> None:
        for name in self._queued - queued:
            if name in self._active:
                self._active[name].started = time.time()
        self._queued = queued

    # Reading what is there

    def _take_over(self, *, replacing: bool) -> None:
        """Go on with the jobs that an earlier process left, and end those that nothing needs any more, or that wait
        and are to be replaced. Those that run are left to it: what they have done is good."""
        inherited = self._launcher.inherited()
        statuses = self._launcher.jobs() if inherited else {}
        for name, job in inherited.items():
            work, attempt = self._backlog.find(name), job.payload["attempt"]
            counts = self._verdicts.continuing and not self._verdicts.is_settled(name, attempt)
            if statuses[name].state.ended and (work is None or replacing or not counts):
                if counts and work is None:  # nothing is left of it to do
                    self._verdicts.passed(job, statuses[name].seconds)
                self._launcher.forget(name)
                continue
            if work is None or (replacing and statuses[name].state == JobState.QUEUED):
                self._unwanted.add(name)
                self._launcher.cancel(name)
                continue
            work.attempt, work.started = attempt, time.time()
            self._active[name] = work
        if replacing and self._active:
            count = len(self._active)
            self._warn(f"{count} jobs that run already go on with the program and profile they were submitted with")
        if self._active:
            with store_errors(self._store.root):
                self._regroup()

    def _admit(self, trial: Trial) -> None:
        self._unfinished[trial.key] = trial
        record = self._record(trial.stages[-1])
        known = self._ended_before.get(trial.key) == "done"
        if record is not None:
            self._finish(trial, "done", result=record["result"], quietly=not self._verdicts.continuing or known)
        elif self._folders.marker(trial).exists():
            self._finish(trial, "pruned", quietly=True)

    def _regroup(self) -> None:
        works = self._backlog.regroup(self._unfinished.values(), self._is_recorded, self._active.values())
        for work in works:
            failure = next((found for stage in work.job.stages if (found := self._known_failure(stage))), None)
            if failure is not None:
                self._give_up(work, failure, again=True)

    def _stage(self, stage: Stage) -> StageFolder:
        return self._store.stage(stage.kind, stage.key)

    def _is_recorded(self, stage: Stage) -> bool:
        return stage.key in self._recorded or self._record(stage) is not None

    def _record(self, stage: Stage) -> dict[str, Any] | None:
        record = self._stage(stage).record(self._warn)
        if record is not None and stage.key not in self._recorded:
            self._recorded.add(stage.key)
            self._backlog.recorded(stage.key)
        return record

    def _known_failure(self, stage: Stage) -> dict[str, Any] | None:
        """A failure of this run, or a divergence of any: training again would diverge again."""
        if stage.key not in self._examined:
            self._examined.add(stage.key)
            failure = self._stage(stage).failure(self._warn)
            if failure is not None and failure["class"] == "diverged":
                self._verdicts.forbid(stage, failure)
        return self._verdicts.failure(stage)

    # Starting

    def _has_room(self) -> bool:
        return not self._stopping and len(self._active) < self._launcher.capacity and not self.problem

    def _start(self, work: Work) -> None:
        left = [stage for stage in work.job.stages if not self._is_recorded(stage)]
        trial = work.job.trial
        if not left:
            self._complete(work)
            return
        if work.name in self._unwanted or holder(self._stage(left[0]).path) is not None:
            self._backlog.hold(work, self._clock())
            return
        self._verdicts.begin()
        work.attempt = 1 + (work.attempt or self._earlier_attempts(work))
        work.started = time.time()
        log = self._log(work)
        log.parent.mkdir(parents=True, exist_ok=True)
        faults, processes = self._verdicts.memory_faults(work.name), self._resources.processes
        smaller = [with_less_memory(stage, faults, processes=processes) for stage in left]
        changed = {key: value for _, changes in smaller for key, value in changes.items()}
        payload = job_payload(
            [stage for stage, _ in smaller],
            store=self._store.root.absolute(),
            marker=None if trial is None else self._folders.marker(trial).absolute(),
            attempt=work.attempt,
            threads=self._resources.cpus,
            provenance={**self._provenance(), **({"after_memory_fault": changed} if changed else {})},
        )
        self._active[work.name] = work
        resources = replace(self._resources, avoid=self._verdicts.avoided(work.name))
        self._launcher.submit(Job(name=work.name, target=TARGET, payload=payload, log=log, resources=resources))

    def _earlier_attempts(self, work: Work) -> int:
        """Attempts of former runs: a log is never written over."""
        first = self._log(work)
        pattern = first.name.replace("attempt-0", "attempt-*")
        numbers = [int(path.stem.rpartition("attempt-")[2]) for path in first.parent.glob(pattern)]
        return max(numbers, default=0)

    def _log(self, work: Work) -> Path:
        if work.job.trial is None:
            return self._folder / "jobs" / f"{work.name}.attempt-{work.attempt}.log"
        return self._folders.folder(work.job.trial) / f"attempt-{work.attempt}.log"

    # Settling

    def _settle(self, work: Work, status: JobStatus) -> None:
        """Take note of an attempt that ended."""
        work.seconds = time.time() - work.started if status.seconds is None else status.seconds
        left = [stage for stage in work.job.stages if not self._is_recorded(stage)]
        recorded = [stage for stage in work.job.stages if stage not in left]
        if not left:
            self._complete(work)
            self._verdicts.done(work, recorded)
            return
        trial, stage = work.job.trial, left[0]
        self._asked.pop(work.name, None)
        if trial is not None and self._folders.marker(trial).exists():
            self._finish(trial, "pruned")
            self._verdicts.done(work, recorded, "pruned")
            self._regroup()
            return
        if not self._is_wanted(work):
            self._verdicts.done(work, recorded, "cancelled")
            if trial is not None:
                self._leave_out(trial)
                self._say(f"{trial_label(trial)}: cancelled")
            self._regroup()
            return
        failure = self._stage(stage).failure(self._warn)
        if failure is not None and failure.get("attempt") != work.attempt:
            failure = None
        outcome = outcome_of(status, failure)
        if outcome == Outcome.UNWRITABLE:
            self._trouble = self._trouble or self._unwritable(work)
            self._backlog.again(work)
            return
        if outcome == Outcome.HELD:
            self._backlog.hold(work, self._clock())
            return
        if self._stopping and outcome in (Outcome.INTERRUPTED, Outcome.LOST, Outcome.KILLED):
            self._verdicts.done(work, recorded, "stopped")
            return
        if failure is None:
            failure = self._unsaid(work, status, outcome)
            self._stage(stage).write_failure(failure)
        step = self._stage(stage).newest_checkpoint() or 0
        if self._verdicts.ended(work, outcome, recorded, left=len(left), step=step, node=status.node):
            self._backlog.again(work)
            return
        failure = {"stage": f"{stage.kind}/{stage.key}", "log": str(self._log(work)), **failure}
        self._verdicts.give_up(work, outcome, recorded, stage=stage, failure=failure, trials=self._unfinished.values())
        self._give_up(work, failure)

    def _unsaid(self, work: Work, status: JobStatus, outcome: Outcome) -> dict[str, Any]:
        """The failure of an attempt that could not write its own."""
        if outcome == Outcome.FAILED:
            what = status.problem or f"ended with exit code {status.exit_code} and without a record"
            return without_exception("code_error", what, log=self._log(work), attempt=work.attempt)
        what = f"ended by signal {status.signal}" if status.signal else status.problem or str(outcome)
        if status.signal == 9:
            what += " (killed by somebody, or by the kernel for want of memory)"
        kind: FailureClass = "out_of_memory" if outcome == Outcome.OUT_OF_MEMORY else "killed"
        return without_exception(kind, what, log=self._log(work), attempt=work.attempt)

    def _unwritable(self, work: Work) -> StoreError:
        try:
            self._store.prepare()
        except StoreError as error:  # says best what is wrong, if it still is
            return error
        tail = without_exception("killed", "", log=self._log(work), attempt=work.attempt)["traceback_tail"]
        reason = tail.splitlines()[-1] if tail else "no reason given"
        return StoreError(
            f"{self._store.root}: a job could not write the store ({reason}); free some space or make it writable, "
            "then run the same command again: finished work is kept"
        )

    def _complete(self, work: Work) -> None:
        """Every stage of a job is recorded."""
        trial = work.job.trial
        if trial is not None and trial.key in self._unfinished:
            record = self._record(trial.stages[-1])
            if record is None:
                raise StoreError(f"{self._stage(trial.stages[-1]).path} was changed by somebody; run again to redo it")
            self._finish(trial, "done", result=record["result"])

    def _give_up(self, work: Work, failure: Mapping[str, Any], *, again: bool = False) -> None:
        """``again``: it was given up before, and who had ended then was told of."""
        state: State = "diverged" if failure["class"] == "diverged" else "failed"
        for lost in self._backlog.give_up(work):
            if lost.job.trial is not None:
                told = again and self._verdicts.continuing and self._ended_before.get(lost.job.trial.key) == state
                self._finish(lost.job.trial, state, failure=failure, quietly=told)

    def _finish(
        self,
        trial: Trial,
        state: State,
        *,
        result: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
        quietly: bool = False,
    ) -> None:
        del self._unfinished[trial.key]
        metric = self._plan.sweep.objective.metric
        record = self._folders.finish(trial, state, metric=metric, result=result, failure=failure)
        self.records[trial.key] = record
        self._counts[state] += 1
        if not quietly:
            self._say(trial_ending(trial, record, metric))


def _queued(statuses: Mapping[str, JobStatus]) -> set[str]:
    return {name for name, status in statuses.items() if status.state == JobState.QUEUED}
