"""The job that ``ablate doctor`` sends: like any job of a sweep, in a folder of its own that is removed when it is
over.

It never stays in the queue, however the wait for it ends.
"""

import json
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ablations.node_facts import FACTS, TARGET, TOKEN, Facts
from slurm.batch import Batch, Word, job_path, read_word, write_batch
from slurm.commands import Slurm
from slurm.launcher import Job, Resources
from slurm.profile import Profile
from slurm.queue import QUEUED, Seen, look
from slurm.script import Site, batch_script, python_command
from slurm.submission import send

_SECONDS = 300
"""A few are enough, unless libraries are imported from a file system for the first time."""
_POLL = 2.0
_WORD_PATIENCE = 30.0
"""Seconds after which what a job wrote on its node is surely seen here; shared file systems lag."""
PROBE = "doctor: Python"
_PROBE = f'import os, sys; sys.stdout.write("{PROBE} %s %s\\n" % (sys.version.split()[0], os.path.exists(sys.argv[1])))'
"""Says in the log whether Python starts at all, in code that any version of it understands."""


class NotStarted(Exception):
    """The job was still waiting when its time was over, and was cancelled. The message gives SLURM's reason."""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A job that is over, and what it left."""

    seen: Seen | None
    """The job as SLURM last saw it."""
    word: Word | None
    facts: Facts | None
    log: str
    queued_at: float
    """A time at which the job had surely not begun, by the clock here."""
    read_at: float
    """A time by which the facts had surely been written."""


@contextmanager
def prepared(store: Path, gpus: int, *, longest: int | None) -> Iterator[Batch]:
    """A batch of this one job, with a token beside it. ``longest``: the partition's limit in seconds, if it has one.
    Raises ``OSError``."""
    folder = store.absolute() / "doctor" / secrets.token_hex(6)
    try:
        folder.mkdir(parents=True)
        (folder / TOKEN).write_text(secrets.token_hex(6))
        resources = Resources(gpus=gpus, time=_duration(_SECONDS if longest is None else min(_SECONDS, longest)))
        job = Job(
            name="doctor", target=TARGET, payload={"folder": str(folder)}, log=folder / "log", resources=resources
        )
        yield write_batch(folder, [job])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()


def _duration(seconds: int) -> str:
    return f"0:{seconds // 60:02d}:{seconds % 60:02d}"


def as_a_sweep_would(batch: Batch) -> Batch:
    """The same batch without a time of its own, so that the profile's applies."""
    job = batch.jobs[0]
    return replace(batch, jobs={0: replace(job, resources=replace(job.resources, time=None))})


def visit(
    batch: Batch, *, title: str, profile: Profile, slurm: Slurm, patience: float, say: Callable[[str], None]
) -> Visit:
    """Send the job and wait until it is over; ``say`` is told how it stands. ``title`` must be no other job's.

    Raises ``NotStarted`` after ``patience`` seconds, and what ``send`` raises.
    """
    probe = f"{python_command(profile)} -c {shlex.quote(_PROBE)} {shlex.quote(str(job_path(batch.folder, 0)))} || true"
    queued_at, over = time.time(), False
    try:
        site = Site(profile=replace(profile, setup=(*profile.setup, probe)), title=title)
        number = send(batch_script(batch, site), batch.folder / "script.sh", slurm)
        deadline = time.monotonic() + patience
        while True:
            asked_at = time.time()
            found = look(slurm, [number])
            seen = found.jobs.get(number)
            over = _has_ended(read_word(batch, 0)) or (seen is not None and seen.ended)
            if over:
                break
            if seen is None or seen.state in QUEUED:
                reason = found.problem or (seen.reason if seen else "") or "no reason given"
                if time.monotonic() > deadline:
                    raise NotStarted(f"job {number}: {reason}")
                queued_at = asked_at if seen is not None else queued_at
                say(f"job {number} waits in the queue: {reason}")
            else:
                say(f"job {number} runs")
            time.sleep(min(_POLL, profile.poll_seconds))
    finally:
        if not over:
            slurm.ask("scancel", "--me", f"--name={title}")  # also a job that sbatch sent but could not report
    return _collect(batch, seen, queued_at)


def _has_ended(word: Word | None) -> bool:
    return word is not None and word.exit_code is not None


def _collect(batch: Batch, seen: Seen | None, queued_at: float) -> Visit:
    """What the job left, as soon as it can be seen here."""
    place = batch.folder.parent
    end = time.monotonic() + _WORD_PATIENCE
    while not (place / FACTS).exists() and not _has_ended(read_word(batch, 0)) and time.monotonic() < end:
        time.sleep(_POLL)
    facts = None
    with suppress(OSError, ValueError, TypeError):  # none, or those of another version of this program
        facts = Facts(**json.loads((place / FACTS).read_text()))
    read_at = time.time()
    log = ""
    with suppress(OSError):
        log = batch.jobs[0].log.read_text(errors="replace")
    return Visit(seen=seen, word=read_word(batch, 0), facts=facts, log=log, queued_at=queued_at, read_at=read_at)
