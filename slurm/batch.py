"""Jobs sent to SLURM together, as a folder on the file system that login and compute nodes share.

``<index>.json`` is a job, ``<index>.out`` a link to its log, ``<index>.status`` what its batch script reports of
itself, ``id`` SLURM's number once it is known. The folder is complete before ``sbatch`` is called, and the jobs show
its name in the queue, so a launcher that comes after a kill knows every job that may be there. Removing a job's files
gives the job up: should it still begin, it finds nothing to do.
"""

import json
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from slurm.launcher import Job, Resources

OUT_OF_MEMORY = "out-of-memory"
"""Ends a script's last word if SLURM ended processes for their memory."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    folder: Path
    jobs: Mapping[int, Job]
    """Jobs by index in the array; in a loaded batch, those that were not given up."""
    size: int
    """How many jobs there were in the beginning: a batch of one is no array."""

    @property
    def mark(self) -> str:
        """What the comments of its jobs in the queue begin with."""
        return f"ablate/{self.folder.name}"

    def job_id(self, number: str, index: int) -> str:
        return number if self.size == 1 else f"{number}_{index}"


@dataclass(frozen=True, kw_only=True)
class Word:
    """What a batch script said last."""

    restart: int
    """The run in which it said so: 0, and one more each time SLURM queued the job again."""
    exit_code: int | None
    """As a shell counts: 128 and more for signals. ``None`` while the script has only begun."""
    node: str | None = None
    """Where it runs; the first of several nodes."""
    seconds: float | None = None
    """Seconds that the run took, once it has ended."""
    out_of_memory: bool = False
    """Whether SLURM ended one of its processes for its memory."""


def write_batch(root: Path, jobs: Sequence[Job]) -> Batch:
    """Write a new batch. Raises ``OSError``."""
    folder = root / f"{_home(root)}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    for index, job in enumerate(jobs):
        job_path(folder, index).write_text(json.dumps(_written(job)))
        (folder / f"{index}.out").symlink_to(job.log.absolute())
    (folder / "size").write_text(str(len(jobs)))
    return Batch(folder=folder, jobs=dict(enumerate(jobs)), size=len(jobs))


def _home(root: Path) -> str:
    """A text that is the same for all batches below ``root``, and for no others."""
    return sha256(str(root.resolve()).encode()).hexdigest()[:8]


def given_up(root: Path, comments: Mapping[str, str]) -> list[str]:
    """Ids of jobs that were sent from ``root`` and of which nothing is left there; ``comments``: those of jobs in the
    queue, by id."""
    found = []
    for name, comment in comments.items():
        match = re.match(rf"ablate/({_home(root)}-\w+):", comment)
        if match and not job_path(root / match[1], int(name.partition("_")[2] or 0)).exists():
            found.append(name)
    return found


def load_batches(root: Path) -> list[tuple[Batch, str | None]]:
    """Every batch with jobs that were not given up, and SLURM's number of it where it is known."""
    found = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ():
        try:
            size = int((folder / "size").read_text())
            jobs = {index: _read(path) for index in range(size) if (path := job_path(folder, index)).exists()}
        except (OSError, ValueError, KeyError, TypeError):  # its writer was killed, so nothing of it was sent
            shutil.rmtree(folder, ignore_errors=True)
            continue
        number = folder / "id"
        found.append((Batch(folder=folder, jobs=jobs, size=size), number.read_text() if number.exists() else None))
    return found


def write_id(batch: Batch, number: str) -> None:
    half = batch.folder / ".id"
    half.write_text(number)
    half.rename(batch.folder / "id")


def give_up(batch: Batch, index: int) -> None:
    """Forget one job of a batch, and the batch with its last one."""
    for path in (job_path(batch.folder, index), batch.folder / f"{index}.out", *batch.folder.glob(f"{index}.status*")):
        path.unlink(missing_ok=True)
    if not any(batch.folder.glob("*.json")):
        shutil.rmtree(batch.folder, ignore_errors=True)


def job_path(folder: Path, index: int) -> Path:
    return folder / f"{index}.json"


def read_word(batch: Batch, index: int) -> Word | None:
    """What the batch script of a job said last; ``None`` if nothing (yet)."""
    try:
        text = (batch.folder / f"{index}.status").read_text()
    except OSError:
        return None
    found = re.fullmatch(rf"(?:begun (\d+)|ended (\d+) (\d+)) ?(\S*?)( ?{OUT_OF_MEMORY})?(?: (\d+))?\n", text)
    if found is None:
        return None
    node = found[4] or None
    if found[1] is not None:
        return Word(restart=int(found[1]), exit_code=None, node=node)
    return Word(
        restart=int(found[2]),
        exit_code=int(found[3]),
        node=node,
        out_of_memory=found[5] is not None,
        seconds=float(found[6]) if found[6] else None,
    )


def _written(job: Job) -> dict[str, Any]:
    """A job as JSON values. The payload is taken as it is: it is large, and ``asdict`` would copy it."""
    known = {one.name: getattr(job, one.name) for one in fields(job)}
    return {**known, "log": str(job.log.absolute()), "resources": asdict(job.resources)}


def _read(path: Path) -> Job:
    written = json.loads(path.read_bytes())
    resources = Resources(**{**written["resources"], "avoid": tuple(written["resources"]["avoid"])})
    return Job(**{**written, "log": Path(written["log"]), "resources": resources})
