"""Jobs on a SLURM cluster, for a process on a login node.

Promises what ``launcher.Launcher`` says. Besides: what is submitted between two looks goes to SLURM together, jobs of
equal resources as an array; a limit on the number of jobs makes the rest wait here; jobs outlive a launcher that is
killed or simply left, and the next one on the same folder inherits them. SLURM is asked about all jobs at once, rarely.
One launcher at a time works on a folder; what it keeps there are the jobs that were not forgotten.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from slurm.batch import Batch, give_up, load_batches, read_word, write_batch, write_id
from slurm.commands import Slurm
from slurm.ending import status_of
from slurm.launcher import Job, JobState, JobStatus, LauncherError
from slurm.queue import QUEUED, Look, Pace, Seen, look, max_array_size
from slurm.script import Site, batch_script, follower_script
from slurm.submission import NoAnswer, QueueFull, Refused, send

_WORD_PATIENCE = 30.0
"""Seconds until what a job wrote on its node is surely seen here; shared file systems lag."""
_SILENCE = 600.0
"""Seconds without an answer from SLURM after which somebody has to look."""
_UNSEEN_LOOKS = 2
"""Looks in a row, to none of which a job is known: it is lost."""
_QUEUED = JobStatus(state=JobState.QUEUED)


@dataclass(kw_only=True)
class _Sent:
    """A job that was handed to SLURM."""

    batch: Batch
    index: int
    number: str | None
    """SLURM's, of the batch; ``None`` where it is not known whether SLURM has it."""
    unseen: int = 0
    """Looks in a row that did not find it."""
    over_since: float | None = None
    """When SLURM first called it over while its own word was missing."""

    @property
    def id(self) -> str | None:
        return None if self.number is None else self.batch.job_id(self.number, self.index)


class ClusterLauncher:
    def __init__(self, site: Site, *, folder: Path, slurm: Slurm | None = None, capacity: int | None = None) -> None:
        """``folder`` lies where every node sees it; ``capacity`` is less than the profile's ``max_jobs``."""
        profile = site.profile
        self._site = site
        self._folder = folder.absolute()
        self._slurm = slurm or Slurm()
        self._capacity = min(profile.max_jobs, capacity or profile.max_jobs)
        self._statuses: dict[str, JobStatus] = {}
        self._waiting: dict[str, Job] = {}
        """Not handed to SLURM yet."""
        self._sent: dict[str, _Sent] = {}
        """Handed to SLURM and not forgotten."""
        self._asked: dict[str, int] = {}
        """Jobs to be ended: 0 politely, 1 at once, 2 by every means."""
        self._pace = Pace(profile.poll_seconds)
        self._seen: Mapping[str, Seen] = {}
        """What the last look showed."""
        self._array_size: int | None = None
        self._batch_size = profile.max_jobs
        """Most jobs to send together: less after SLURM found so many too many, more after it took them."""
        self._full = False
        """SLURM takes no more at the moment."""
        self._reason = ""
        """Why, in its own words."""
        self._crowded = True
        """Whether this user had any job in the queue at the last look."""
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
        self._waiting[job.name] = job
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
        if name in self._waiting:
            del self._waiting[name]
            self._set(name, JobStatus(state=JobState.CANCELLED))
        elif name in self._statuses and not self._statuses[name].state.ended:
            self._asked[name] = max(self._asked.get(name, 0), int(kill))
            self._pace.due = 0.0

    @property
    def in_doubt(self) -> bool:
        """Whether a further look may soon tell more of a job that is over, as it seems, or not known to SLURM (yet)."""
        return any(sent.unseen or sent.over_since is not None or sent.number is None for sent in self._alive().values())

    @property
    def held_up(self) -> tuple[int, str]:
        """How many jobs are not in the queue yet, as far as is known, and why; in SLURM's own words."""
        unknown = sum(sent.number is None for sent in self._alive().values())
        count = len(self._waiting) + unknown
        return count, self._reason if count else ""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Why jobs in the queue have not begun, in SLURM's words such as ``Priority``, and how many for each."""
        ids = [sent.id for name, sent in self._alive().items() if self._statuses[name].state == JobState.QUEUED]
        return Counter(found.reason for one in ids if one and (found := self._seen.get(one)) and found.reason)

    def follow_up(self) -> str:
        """Before this process leaves its jobs alone: see to it that SLURM does what is to be done afterwards once more
        when all of them have ended, in whatever way. Returns what SLURM has against it; empty where nothing."""
        numbers = sorted({sent.number for sent in self._alive().values() if sent.number is not None})
        known = self._folder / "follower"
        waits = known.exists() and self._queued_at_last_look(known.read_text())
        if self._site.afterwards is None or not numbers or waits:
            return ""
        try:
            text = follower_script(numbers, self._site.afterwards, self._site)
            known.write_text(send(text, self._folder / "follower.sh", self._slurm))
        except (NoAnswer, QueueFull, Refused) as error:
            return str(error)
        return ""

    def _queued_at_last_look(self, number: str) -> bool:
        seen = self._seen.get(number)
        return seen is not None and seen.state in QUEUED

    def close(self) -> None:
        """Jobs that SLURM could not be asked to end stay for the next launcher to inherit."""
        if self._inherited is None:  # what is there is not even known
            return
        ids = [sent.id for sent in self._alive().values() if sent.id is not None]
        if not ids or self._slurm.ask("scancel", *ids).ok:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _alive(self) -> dict[str, _Sent]:
        return {name: sent for name, sent in self._sent.items() if not self._statuses[name].state.ended}

    def _set(self, name: str, status: JobStatus) -> None:
        if self._statuses.get(name) != status:
            self._statuses[name] = status
            self._changed = True

    def _work(self) -> None:
        """Hand over what waits, and look at the queue if it is time."""
        self.inherited()
        if self._alive() or self._full:
            if time.monotonic() < self._pace.due:
                self._hand_over()
                return
            self._end_asked()
            self._take_in(look(self._slurm, [sent.id for sent in self._alive().values() if sent.id is not None]))
        self._hand_over()

    # Looking

    def _take_in(self, seen: Look) -> None:
        now = time.monotonic()
        if seen.problem:
            self._pace.looked(now, changed=False)
            self._silent_since = self._silent_since or now
            if now - self._silent_since >= _SILENCE:
                raise LauncherError(
                    f"SLURM has not answered for {_SILENCE / 60:.0f} minutes ({seen.problem}); jobs that are in its "
                    "queue stay there, and the same command goes on with them"
                )
            return
        self._silent_since, self._full, self._seen = None, False, seen.jobs
        self._crowded = any(not one.ended for one in seen.jobs.values())
        before = dict(self._statuses)
        for name, sent in self._alive().items():
            self._judge(name, sent, seen.jobs, now)
        self._pace.looked(now, changed=self._statuses != before or bool(self._asked))

    def _judge(self, name: str, sent: _Sent, seen: Mapping[str, Seen], now: float) -> None:
        if sent.number is None and (number := _number_of(sent.batch, seen)) is not None:
            sent.number = number
            write_id(sent.batch, number)
        found = seen.get(sent.id) if sent.id is not None else None
        if found is None:
            sent.unseen += 1
            if sent.unseen >= _UNSEEN_LOOKS:
                self._vanish(name, sent)
            return
        sent.unseen = 0
        if found.stuck:
            self._slurm.ask("scancel", str(sent.id))  # its place is taken by another attempt
        word = read_word(sent.batch, sent.index) if found.ended or found.state == "RUNNING" else None
        if not found.ended:
            sent.over_since = None
        elif sent.over_since is None:
            sent.over_since = now
        patient = sent.over_since is None or now - sent.over_since < _WORD_PATIENCE
        status = status_of(found, word, patient=patient)
        if status is not None:
            self._set(name, status)

    def _vanish(self, name: str, sent: _Sent) -> None:
        """SLURM does not know the job: either it never got it, or it has forgotten how it ended."""
        if sent.number is None:
            del self._sent[name]
            self._waiting[name] = sent.batch.jobs[sent.index]
            give_up(sent.batch, sent.index)
            self._set(name, _QUEUED)
            return
        word = read_word(sent.batch, sent.index)
        if word is None and name in self._asked:  # of an array, SLURM forgets at once what was cancelled in the queue
            self._set(name, JobStatus(state=JobState.CANCELLED))
            return
        ended = None if word is None else status_of(Seen(state="COMPLETED"), word, patient=True)
        self._set(name, ended or JobStatus(state=JobState.LOST, problem=f"SLURM does not know job {sent.id} any more"))

    def _inherit(self) -> dict[str, Job]:
        """Take over what an earlier launcher did not forget."""
        batches = load_batches(self._folder)
        if not batches:
            return {}
        for batch, number in batches:
            for index, job in batch.jobs.items():
                self._sent[job.name] = _Sent(batch=batch, index=index, number=number)
                self._set(job.name, _QUEUED)
        inherited = {name: sent.batch.jobs[sent.index] for name, sent in self._sent.items()}
        seen = look(self._slurm, [sent.id for sent in self._sent.values() if sent.id is not None])
        if seen.problem:
            raise LauncherError(f"SLURM does not answer ({seen.problem}); run the same command again when it does")
        self._take_in(seen)
        return inherited

    # Handing over

    def _hand_over(self) -> None:
        alive = len(self._alive())
        while self._waiting and not self._full and (room := self._capacity - alive) > 0:
            most = self._most_in_one(min(room, self._batch_size, len(self._waiting)))
            jobs = list(islice(self._waiting.values(), most))
            before = len(self._sent)
            self._send([job for job in jobs if job.resources == jobs[0].resources])
            alive += len(self._sent) - before

    def _send(self, jobs: Sequence[Job]) -> None:
        batch = write_batch(self._folder, jobs)
        number, refusal = None, ""
        try:
            number = send(batch_script(batch, self._site), batch.folder / "script.sh", self._slurm)
            write_id(batch, number)
            self._batch_size = min(2 * self._batch_size, self._site.profile.max_jobs)
        except NoAnswer as error:
            self._full, self._reason = True, str(error)  # until the next look, which shows whether it arrived
        except (QueueFull, Refused) as error:
            shutil.rmtree(batch.folder, ignore_errors=True)
            if isinstance(error, QueueFull):
                self._batch_size = max(1, len(jobs) // 2)
                if len(jobs) > 1:
                    return
                if self._crowded or self._alive():
                    self._full, self._reason = True, str(error)
                    self._pace.hurry(time.monotonic())
                    return
            refusal = str(error)
        for index, job in enumerate(jobs):
            del self._waiting[job.name]
            if refusal:
                self._set(job.name, JobStatus(state=JobState.FAILED, problem=refusal))
            else:
                self._sent[job.name] = _Sent(batch=batch, index=index, number=number)
        self._pace.hurry(time.monotonic())

    def _most_in_one(self, wanted: int) -> int:
        if wanted > 1 and self._array_size is None:
            self._array_size = max_array_size(self._slurm)
        return min(wanted, self._array_size or 1)

    def _end_asked(self) -> None:
        """Ask jobs to end, again at every look until they have: one that is only just starting does not hear it."""
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


def _number_of(batch: Batch, seen: Mapping[str, Seen]) -> str | None:
    """SLURM's number of a batch, found by the comment of its jobs."""
    for name, one in seen.items():
        if one.comment.startswith(batch.mark):
            return name.partition("_")[0]
    return None
