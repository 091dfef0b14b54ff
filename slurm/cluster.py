"""Jobs on a SLURM cluster, for a process on a login node.

Keeps the promises of ``launcher.Launcher``. In addition, jobs submitted between two looks go to SLURM together, those
with equal resources as an array; if there is a limit on the number of jobs, the rest wait here; and jobs outlive a
launcher that is killed or simply left, and are inherited by the next one on the same folder. SLURM is asked about all
jobs at once, rarely. One launcher at a time works on a folder, which keeps the jobs that were not forgotten.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from slurm.batch import give_up, given_up, load_batches
from slurm.commands import Slurm
from slurm.follower import Follower
from slurm.handover import Handover
from slurm.home import Home
from slurm.launcher import Job, JobState, JobStatus, LauncherError
from slurm.queue import QUEUED, Look, Pace, Seen, look
from slurm.script import Site
from slurm.sent import Sent

_SILENCE = 600.0
"""Seconds without an answer from SLURM after which a person has to look."""
_QUEUED = JobStatus(state=JobState.QUEUED)


class ClusterLauncher:
    def __init__(
        self,
        site: Site,
        *,
        folder: Path,
        slurm: Slurm | None = None,
        capacity: int | None = None,
        just_ended: bool = False,
    ) -> None:
        """``folder`` must be visible to every node; ``capacity`` counts where it is less than the profile's
        ``max_jobs``. ``just_ended``: this is the last act of a job. Of many jobs that end together, one asks SLURM; for
        the others, what the jobs wrote is enough."""
        profile = site.profile
        self._site = site
        self._home = Home(folder, slurm or Slurm())
        self._folder = self._home.folder
        self._slurm = slurm or Slurm()
        self._capacity = min(profile.max_jobs, capacity or profile.max_jobs)
        self._just_ended = just_ended
        self._statuses: dict[str, JobStatus] = {}
        self._handover = Handover(site, self._home, self._slurm)
        self._follower = Follower(site, self._home, self._slurm)
        self._sent: dict[str, Sent] = {}
        """Jobs handed to SLURM and not forgotten, by name."""
        self._asked: dict[str, int] = {}
        """Jobs to be ended: 0 politely, 1 at once, 2 by every means."""
        self._pace = Pace(profile.poll_seconds)
        self._seen: Mapping[str, Seen] | None = None
        """What the last look showed; ``None`` before the first."""
        self._reasons: Mapping[str, int] = {}
        """The reasons that an earlier launcher's look showed."""
        self._silent_since: float | None = None
        self._changed = False
        self._inherited: dict[str, Job] | None = None

    @property
    def capacity(self) -> int:
        return self._capacity

    def inherited(self) -> Mapping[str, Job]:
        if self._inherited is None:
            self._inherited = self._inherit()
        return self._inherited

    def submit(self, job: Job) -> None:
        self.inherited()
        if job.name in self._statuses:
            raise ValueError(f"job {job.name!r} was already submitted and is not forgotten")
        self._handover.waiting[job.name] = job
        self._set(job.name, _QUEUED)

    def jobs(self) -> Mapping[str, JobStatus]:
        self._work()
        return dict(self._statuses)

    def forget(self, name: str) -> None:
        if not self._statuses[name].state.ended:
            raise ValueError(f"job {name!r} has not ended")
        del self._statuses[name]
        self._asked.pop(name, None)
        if (sent := self._sent.pop(name, None)) is not None:
            give_up(sent.batch, sent.index)

    def wait(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        self._work()
        while not self._changed and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, max(0.0, self._pace.due - time.monotonic())) if self._alive() else left)
            self._work()
        self._changed = False

    def cancel(self, name: str, *, kill: bool = False) -> None:
        if name in self._handover.waiting:
            del self._handover.waiting[name]
            self._set(name, JobStatus(state=JobState.CANCELLED))
        elif name in self._statuses and not self._statuses[name].state.ended:
            self._asked[name] = max(self._asked.get(name, 0), int(kill))
            self._pace.due = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether another look may soon tell more about a job that seems to be over, or that SLURM does not know
        (yet)."""
        return any(sent.in_doubt for sent in self._alive().values())

    @property
    def held_up(self) -> tuple[int, str]:
        """How many jobs are not in the queue yet, as far as is known, and why; in SLURM's own words."""
        unknown = sum(sent.number is None for sent in self._alive().values())
        count = len(self._handover.waiting) + unknown
        return count, self._handover.reason if count else ""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why jobs in the queue have not begun, in SLURM's words such as ``Priority``, and how many for each."""
        seen = self._seen
        if seen is None:
            return self._reasons
        ids = [sent.id for name, sent in self._alive().items() if self._statuses[name].state == JobState.QUEUED]
        return Counter(found.reason for one in ids if one and (found := seen.get(one)) and found.reason)

    def follow_up(self) -> str:
        """Make sure that a small job looks after the others. Returns why SLURM does not take it; empty if it does."""
        self.inherited()
        return self._follower.ensure(self._seen)

    def leave(self, *, over: bool) -> None:
        """Prepare for this process to leave its jobs alone. ``over``: nobody has to look after them any more."""
        if over:
            self._follower.end()
            if not self._sent:
                self._home.forget()
        else:
            numbers = {sent.number for sent in self._alive().values() if sent.number is not None}
            self._follower.wait_for(sorted(numbers, key=int))

    @property
    def followed(self) -> bool:
        """Whether a small job looks after the others."""
        return self._follower.known

    def close(self) -> None:
        """Jobs that SLURM could not be asked to end stay for the next launcher to inherit."""
        if self._inherited is None:  # what is there is not even known
            return
        ids = [sent.id for sent in self._alive().values() if sent.id is not None]
        if not ids or self._slurm.ask("scancel", *ids).ok:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _alive(self) -> dict[str, Sent]:
        return {name: sent for name, sent in self._sent.items() if not self._statuses[name].state.ended}

    def _set(self, name: str, status: JobStatus) -> None:
        if self._statuses.get(name) != status:
            self._statuses[name] = status
            self._changed = True

    def _work(self) -> None:
        """Look at the queue if it is time, and hand over what waits."""
        self.inherited()
        if (self._alive() or self._handover.full) and time.monotonic() >= self._pace.due:
            self._end_asked()
            self._take_in(self._look())
        if self._handover.waiting and not self._handover.full:
            done = self._handover.hand_over(self._capacity - len(self._alive()))
            for name, found in done.items():
                if isinstance(found, Sent):
                    self._sent[name] = found
                else:
                    self._set(name, found)
            if done or self._handover.full:
                self._pace.hurry(time.monotonic())

    def _inherit(self) -> dict[str, Job]:
        """Take over what an earlier launcher did not forget."""
        self._home.require()
        batches = load_batches(self._folder)
        if not batches and not self._follower.known:
            return {}
        for batch, number in batches:
            for index, job in batch.jobs.items():
                self._sent[job.name] = Sent(batch=batch, index=index, number=number)
                self._set(job.name, _QUEUED)
        inherited = {name: sent.batch.jobs[sent.index] for name, sent in self._sent.items()}
        if not self._go_by_words():
            seen = self._look()
            if seen.problem:
                raise LauncherError(f"SLURM does not answer ({seen.problem}); run the same command again when it does")
            self._take_in(seen)
        return inherited

    def _go_by_words(self) -> bool:
        """Whether SLURM need not be asked yet, because it just was and what the jobs wrote says enough."""
        pause = self._site.profile.poll_seconds
        asked = self._home.asked_within(pause) if self._just_ended else None
        words = {name: sent.by_its_word() for name, sent in self._sent.items()} if asked is not None else {}
        if asked is None or None in words.values():
            return False
        for name, status in words.items():
            if status is not None:
                self._set(name, status)
        self._reasons = asked.reasons
        self._pace.due = time.monotonic() + pause - asked.age
        return True

    def _look(self) -> Look:
        return look(self._slurm, [sent.id for sent in self._alive().values() if sent.id is not None])

    def _take_in(self, seen: Look) -> None:
        now = time.monotonic()
        if seen.problem:
            self._pace.looked(now, changed=False)
            self._silent_since = self._silent_since or now
            if now - self._silent_since >= _SILENCE:
                raise LauncherError(
                    f"SLURM has not answered for {_SILENCE / 60:.0f} minutes ({seen.problem}); jobs that are in its "
                    "queue stay there, and the same command continues with them"
                )
            return
        self._silent_since, self._handover.full, self._seen = None, False, seen.jobs
        before = dict(self._statuses)
        for name, sent in self._alive().items():
            self._judge(name, sent, seen.jobs, now)
        self._end_strays(seen.jobs)
        self._home.note_asked(self.reasons)
        self._pace.looked(now, changed=self._statuses != before or bool(self._asked))

    def _judge(self, name: str, sent: Sent, seen: Mapping[str, Seen], now: float) -> None:
        status = sent.judge(seen, now, cancelled=name in self._asked)
        if sent.never_arrived:
            del self._sent[name]
            self._handover.waiting[name] = sent.batch.jobs[sent.index]
            give_up(sent.batch, sent.index)
        elif status is not None:
            self._set(name, status)
            found = seen.get(sent.id) if sent.id is not None else None
            if found is not None and found.stuck:
                self._slurm.ask("scancel", str(sent.id))  # its place is taken by another attempt

    def _end_strays(self, seen: Mapping[str, Seen]) -> None:
        """Cancel jobs that SLURM queued again after their end was noted."""
        requeued = {name: one.comment for name, one in seen.items() if one.state in QUEUED and one.restarts}
        if strays := given_up(self._folder, requeued):
            self._slurm.ask("scancel", "--state=PENDING", *strays)

    def _end_asked(self) -> None:
        """Ask jobs to end, again at every look until they have: one that is just starting does not receive the
        request."""
        alive = self._alive()
        self._asked = {name: how for name, how in self._asked.items() if name in alive}
        ids = {name: alive[name].id for name in self._asked}
        by_how = [[one for name, one in ids.items() if one and self._asked[name] == how] for how in range(3)]
        polite, at_once, by_every_means = by_how
        if polite or at_once:
            self._slurm.ask("scancel", "--state=PENDING", *polite, *at_once)
        if polite:
            self._slurm.ask("scancel", "--state=RUNNING", "--signal=TERM", *polite)
        if at_once:  # the job's own processes: its script then says how it ended
            self._slurm.ask("scancel", "--signal=KILL", *(f"{one}.0" for one in at_once))
            self._asked |= {name: 2 for name in self._asked if self._asked[name] == 1}
        if by_every_means:
            self._slurm.ask("scancel", *by_every_means)
