"""The one writer of a sweep: reads the folders and the launcher, decides what to do next, and does it.

``Dispatcher.advance`` may be called at any time and any number of times. What it knows can be read again from the store
and the launcher, so the next process, started after any kill, decides the same. What it keeps in memory (which stages
are recorded, which jobs wait for which) only saves reading everything again at every call. How often each job was tried
is in ``attempts.jsonl``, because several processes may carry on a run one after another.

A failed stage takes down the trials that need it and no others.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.active_jobs import ActiveJobs
from ablations.attempt_log import attempt_log, earlier_attempts, unsaid_failure, unwritable_store
from ablations.backlog import Backlog, Work
from ablations.errors import StoreError
from ablations.job import TARGET, job_payload
from ablations.labels import counted
from ablations.lease import holder
from ablations.ledger import Ledger
from ablations.less_memory import with_less_memory
from ablations.outcome import Outcome, outcome_of
from ablations.plan import Plan, Trial
from ablations.running import RunningFile, entry
from ablations.snapshot import Status, running_job
from ablations.stage_records import StageRecords
from ablations.stages import Stage
from ablations.stop_request import stop_requested
from ablations.store import Store, Warn, store_errors
from ablations.trials import State
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
        """``provenance`` returns what all records of this run have in common, and is first called when a job starts.
        ``say`` is told of every trial that ends, ``warn`` of what a user must know. ``continuing``: carry on the run
        that an earlier process began, with its failures; otherwise begin a new one. ``replacing``: jobs that wait in
        the launcher's queue belong to another program, and are sent anew. Raises ``StoreError``."""
        self._store = store
        self._launcher = launcher
        self._resources = resources
        self._provenance = provenance
        self._warn = warn
        self._clock = clock
        self._folder = store.sweep(plan.sweep.name)
        self._ledger = Ledger(self._folder, store, metric=plan.sweep.objective.metric, say=say)
        self._backlog = Backlog()
        self._stages = StageRecords(store, warn=warn, on_recorded=self._backlog.recorded)
        self._active = ActiveJobs()
        self._unwanted: set[str] = set()
        """Names of jobs of an earlier run that nothing needs and that have not ended yet."""
        self._asked: dict[str, int] = {}
        """How jobs that nobody wants were asked to end, by name: 1 politely, 2 at once."""
        self._examined: set[str] = set()
        self._running_file = RunningFile(self._folder)
        self._stopping = False
        self._trouble: StoreError | None = None
        """Set if a job could not write the store; ``advance`` raises it."""
        with store_errors(self._store.root):
            self._verdicts = Verdicts(self._folder, continuing=continuing, trials=plan.trials)
        self.extend(plan)
        self._take_over(replacing=replacing)

    def extend(self, plan: Plan) -> None:
        """Add the trials of ``plan``; those already known stay as they are. Raises ``StoreError``."""
        self._plan = plan
        with store_errors(self._store.root):
            for trial in plan.trials:
                if not self._ledger.knows(trial):
                    self._admit(trial)
            self._regroup()

    def advance(self) -> Status:
        """Do everything that can be done now. Raises ``StoreError``, ``LauncherError``."""
        with store_errors(self._store.root):
            self._heed_cancelled()
            statuses = self._launcher.jobs()
            self._active.note_started(statuses)
            for name, status in statuses.items():
                if status.state.ended:
                    if name in self._active.works:
                        self._settle(self._active.works.pop(name), status)
                    self._unwanted.discard(name)
                    self._launcher.forget(name)  # last: what is not forgotten is settled by the next process
            if self._trouble is not None:  # everything else is settled, so the next process starts afresh
                trouble, self._trouble = self._trouble, None
                raise trouble
            while self._has_room() and (work := self._backlog.take(self._clock())) is not None:
                self._start(work)
            self._active.note_started(self._launcher.jobs())
            self._running_file.update(self._active.running(), self._active.queued())
            return self.status()

    @property
    def records(self) -> Mapping[str, dict[str, Any]]:
        """Records of the trials that have ended, by key."""
        return self._ledger.records

    @property
    def finished(self) -> bool:
        """Whether nothing runs and a further ``advance`` would start nothing."""
        return not self._active.works and (self._stopping or bool(self.problem) or not self._ledger.unfinished)

    @property
    def replaces(self) -> bool:
        """Whether jobs that nothing needs have yet to end before others can take their place."""
        return bool(self._unwanted)

    @property
    def num_unfinished(self) -> int:
        return len(self._ledger.unfinished)

    @property
    def problem(self) -> str:
        """Why no further jobs are started; empty if they are."""
        return self._verdicts.problem(len(self._plan.arms))

    def stop(self, *, kill: bool = False) -> None:
        """Start nothing more, and ask active jobs to save their state, or with ``kill`` end them at once."""
        self._stopping = True
        for name in self._active.works:
            self._launcher.cancel(name, kill=kill)

    def prune(self, arm: str) -> None:
        """Give up the unfinished trials of an arm: the running ones stop at their next step. Raises ``StoreError``."""
        jobs = self._active.by_trial()
        with store_errors(self._store.root):
            for trial in [trial for trial in self._ledger.unfinished.values() if trial.arm.key == arm]:
                marker = self._ledger.folders.marker(trial)
                marker.parent.mkdir(parents=True, exist_ok=True)
                marker.touch()
                if trial.key not in jobs:
                    self._ledger.finish(trial, "pruned")
                elif self._active.is_queued(jobs[trial.key]):
                    self._launcher.cancel(jobs[trial.key])
            self._regroup()

    def _heed_cancelled(self) -> None:
        """Give up the trials that somebody cancelled, and ask the jobs that only they need to end."""
        unwanted = self._ledger.heed_cancelled()
        if not unwanted:
            return
        if idle := unwanted - self._active.by_trial().keys():
            for key in idle:
                self._ledger.leave_out(self._ledger.unfinished[key])
            self._regroup()
        for name, work in self._active.works.items():
            if not self._ledger.is_wanted(work.job):
                trial = work.job.trial
                how = 1 if trial is None else stop_requested(self._folder, trial.key)
                if how > self._asked.get(name, 0):
                    self._asked[name] = how
                    self._launcher.cancel(name, kill=how > 1)

    def status(self) -> Status:
        running = self._active.running()
        return Status(
            name=self._plan.sweep.name,
            counts=self._ledger.counts(running=sum(work.job.trial is not None for work in running)),
            running=tuple(running_job(entry(work), self._store.root) for work in running),
            queued=len(self._active.queued()),
            problem=self.problem,
        )

    # Reading what is there

    def _take_over(self, *, replacing: bool) -> None:
        """Continue with the jobs that an earlier process left; end those that nothing needs any more and, if
        ``replacing``, those that still wait. Running jobs are not replaced: what they have done is good."""
        inherited = self._launcher.inherited()
        statuses = self._launcher.jobs() if inherited else {}
        for name, job in inherited.items():
            work, attempt = self._backlog.find(name), job.payload["attempt"]
            counts = self._verdicts.continuing and not self._verdicts.is_settled(name, attempt)
            if statuses[name].state.ended and (work is None or replacing or not counts):
                if counts and work is None:  # there is nothing left for it to do
                    self._verdicts.passed(job, statuses[name].seconds)
                self._launcher.forget(name)
                continue
            if work is None or (replacing and statuses[name].state == JobState.QUEUED):
                self._unwanted.add(name)
                self._launcher.cancel(name)
                continue
            work.attempt, work.started = attempt, time.time()
            self._active.works[name] = work
        if replacing and self._active.works:
            running = counted(len(self._active.works), "job")
            self._warn(f"still running with the program and profile of the earlier submission: {running}")
        if self._active.works:
            with store_errors(self._store.root):
                self._regroup()

    def _admit(self, trial: Trial) -> None:
        self._ledger.unfinished[trial.key] = trial
        record = self._stages.read(trial.stages[-1])
        if record is not None:
            told = not self._verdicts.continuing or self._ledger.had_ended(trial, "done")
            self._ledger.finish(trial, "done", result=record["result"], quietly=told)
        elif self._ledger.folders.marker(trial).exists():
            self._ledger.finish(trial, "pruned", quietly=True)

    def _regroup(self) -> None:
        works = self._backlog.regroup(self._ledger.unfinished.values(), self._stages.has, self._active.works.values())
        for work in works:
            failure = next((found for stage in work.job.stages if (found := self._known_failure(stage))), None)
            if failure is not None:
                self._give_up(work, failure, again=True)

    def _known_failure(self, stage: Stage) -> dict[str, Any] | None:
        """A failure from this run, or a divergence from any run: training again would diverge again."""
        if stage.key not in self._examined:
            self._examined.add(stage.key)
            failure = self._stages.folder(stage).failure(self._warn)
            if failure is not None and failure["class"] == "diverged":
                self._verdicts.forbid(stage, failure)
        return self._verdicts.failure(stage)

    # Starting

    def _has_room(self) -> bool:
        return not self._stopping and len(self._active.works) < self._launcher.capacity and not self.problem

    def _start(self, work: Work) -> None:
        left = [stage for stage in work.job.stages if not self._stages.has(stage)]
        trial = work.job.trial
        if not left:
            self._complete(work)
            return
        if work.name in self._unwanted or holder(self._stages.folder(left[0]).path) is not None:
            self._backlog.hold(work, self._clock())
            return
        self._verdicts.begin()
        work.attempt = 1 + (work.attempt or earlier_attempts(self._log(work)))
        work.started = time.time()
        log = self._log(work)
        log.parent.mkdir(parents=True, exist_ok=True)
        faults, processes = self._verdicts.memory_faults(work.name), self._resources.processes
        smaller = [with_less_memory(stage, faults, processes=processes) for stage in left]
        changed = {key: value for _, changes in smaller for key, value in changes.items()}
        payload = job_payload(
            [stage for stage, _ in smaller],
            store=self._store.root.absolute(),
            marker=None if trial is None else self._ledger.folders.marker(trial).absolute(),
            attempt=work.attempt,
            threads=self._resources.cpus,
            provenance={**self._provenance(), **({"after_memory_fault": changed} if changed else {})},
        )
        self._active.works[work.name] = work
        resources = replace(self._resources, avoid=self._verdicts.avoided(work.name))
        self._launcher.submit(Job(name=work.name, target=TARGET, payload=payload, log=log, resources=resources))

    def _log(self, work: Work) -> Path:
        return attempt_log(work, self._folder, self._ledger.folders)

    # Settling

    def _settle(self, work: Work, status: JobStatus) -> None:
        """Note the end of an attempt, and decide what follows from it."""
        work.seconds = time.time() - work.started if status.seconds is None else status.seconds
        left = [stage for stage in work.job.stages if not self._stages.has(stage)]
        recorded = [stage for stage in work.job.stages if stage not in left]
        if not left:
            self._complete(work)
            self._verdicts.done(work, recorded)
            return
        trial, stage = work.job.trial, left[0]
        self._asked.pop(work.name, None)
        if trial is not None and self._ledger.folders.marker(trial).exists():
            self._ledger.finish(trial, "pruned")
            self._verdicts.done(work, recorded, "pruned")
            self._regroup()
            return
        if not self._ledger.is_wanted(work.job):
            self._verdicts.done(work, recorded, "cancelled")
            if trial is not None:
                self._ledger.leave_out(trial, quietly=False)
            self._regroup()
            return
        failure = self._stages.folder(stage).failure(self._warn)
        if failure is not None and failure.get("attempt") != work.attempt:
            failure = None
        outcome = outcome_of(status, failure)
        if outcome == Outcome.UNWRITABLE:
            self._trouble = self._trouble or unwritable_store(self._log(work), self._store, attempt=work.attempt)
            self._backlog.again(work)
            return
        if outcome == Outcome.HELD:
            self._backlog.hold(work, self._clock())
            return
        if self._stopping and outcome in (Outcome.INTERRUPTED, Outcome.LOST, Outcome.KILLED):
            self._verdicts.done(work, recorded, "stopped")
            return
        if failure is None:
            failure = unsaid_failure(self._log(work), status, outcome, attempt=work.attempt)
            self._stages.folder(stage).write_failure(failure)
        step = self._stages.folder(stage).newest_checkpoint() or 0
        if self._verdicts.ended(work, outcome, recorded, left=len(left), step=step, node=status.node):
            self._backlog.again(work)
            return
        failure = {"stage": f"{stage.kind}/{stage.key}", "log": str(self._log(work)), **failure}
        needing = self._ledger.unfinished.values()
        self._verdicts.give_up(work, outcome, recorded, stage=stage, failure=failure, trials=needing)
        self._give_up(work, failure)

    def _complete(self, work: Work) -> None:
        """Finish the trial of a job whose stages are all recorded."""
        trial = work.job.trial
        if trial is not None and trial.key in self._ledger.unfinished:
            record = self._stages.read(trial.stages[-1])
            if record is None:
                folder = self._stages.folder(trial.stages[-1]).path
                raise StoreError(f"{folder} was changed by someone; run the same command again to redo it")
            self._ledger.finish(trial, "done", result=record["result"])

    def _give_up(self, work: Work, failure: Mapping[str, Any], *, again: bool = False) -> None:
        """``again``: the job was given up before, so trials that ended then were already reported."""
        state: State = "diverged" if failure["class"] == "diverged" else "failed"
        for lost in self._backlog.give_up(work):
            if lost.job.trial is not None:
                told = again and self._verdicts.continuing and self._ledger.had_ended(lost.job.trial, state)
                self._ledger.finish(lost.job.trial, state, failure=failure, quietly=told)
