"""Hands jobs to SLURM: those that can go together as arrays, the rest when there is room.

When a limit on the number of jobs is reached, by anybody's jobs, the rest wait here; what SLURM will never take is
refused.
"""

import shutil
from collections.abc import Sequence
from itertools import islice

from slurm.batch import write_batch, write_id
from slurm.commands import Slurm
from slurm.home import Home
from slurm.launcher import Job, JobState, JobStatus
from slurm.script import Site, batch_script
from slurm.sent import Sent
from slurm.submission import NoAnswer, QueueFull, Refused, send


class Handover:
    def __init__(self, site: Site, home: Home, slurm: Slurm) -> None:
        self._site = site
        self._home = home
        self._slurm = slurm
        self.waiting: dict[str, Job] = {}
        """Jobs not handed to SLURM yet, by name."""
        self.full = False
        """Whether SLURM takes no more at the moment."""
        self.reason = ""
        """Why it takes no more, in its own words."""
        self._most = site.profile.max_jobs
        """Most jobs to send together: fewer after SLURM found that many too many, more after it took them."""

    def hand_over(self, room: int) -> dict[str, Sent | JobStatus]:
        """Send waiting jobs, ``room`` at most. Returns those that no longer wait, each as it was sent or refused.
        Raises ``LauncherError``, ``OSError``."""
        done: dict[str, Sent | JobStatus] = {}
        together = min(room, len(self.waiting))
        while self.waiting and not self.full and room > 0:
            jobs = list(islice(self.waiting.values(), self._most_in_one(min(room, self._most, len(self.waiting)))))
            found = self._send([job for job in jobs if job.resources == jobs[0].resources], together)
            room -= sum(isinstance(one, Sent) for one in found.values())
            done |= found
        return done

    def _send(self, jobs: Sequence[Job], together: int) -> dict[str, Sent | JobStatus]:
        self._home.claim()
        batch, number = write_batch(self._home.folder, jobs), None
        text = batch_script(batch, self._site, throttle=share(self._site.profile.throttle, len(jobs), together))
        try:
            number = send(text, batch.folder / "script.sh", self._slurm)
            write_id(batch, number)
            self._most = min(2 * self._most, self._site.profile.max_jobs)
        except NoAnswer as error:
            self.full, self.reason = True, str(error)  # until the next look, which shows whether it arrived
        except QueueFull as error:
            shutil.rmtree(batch.folder, ignore_errors=True)
            self._most = max(1, len(jobs) // 2)
            if len(jobs) == 1:
                self.full, self.reason = True, str(error)
            return {}
        except Refused as error:
            shutil.rmtree(batch.folder, ignore_errors=True)
            return {self._pop(job): JobStatus(state=JobState.FAILED, problem=str(error)) for job in jobs}
        return {self._pop(job): Sent(batch=batch, index=index, number=number) for index, job in enumerate(jobs)}

    def _pop(self, job: Job) -> str:
        del self.waiting[job.name]
        return job.name

    def _most_in_one(self, wanted: int) -> int:
        if wanted == 1:
            return 1
        return min(wanted, self._home.max_array_size(), self._site.profile.array_cap or wanted)


def share(throttle: int | None, jobs: int, together: int) -> int | None:
    """How many jobs of an array may run at a time, of ``throttle`` for all that are handed over together."""
    return None if throttle is None else max(1, throttle * jobs // together)
