"""What trains on a development cluster at this moment, seen from outside."""

import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Training:
    """A trial that trains at this moment."""

    job: str
    """SLURM's id."""
    stage: str
    work: Path
    pid: int
    node: str

    @property
    def step(self) -> int:
        return last_step(self.work)


def processes(words: str) -> list[tuple[int, dict[str, str]]]:
    """Processes with ``words`` in their command line, and their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in command and int(folder.name) != os.getpid():
                found.append((int(folder.name), environment_of(int(folder.name))))
        except OSError:
            continue
    return found


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def is_stopped(pid: int) -> bool:
    """By a fault that makes it hang."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return True


def job_id(environment: dict[str, str]) -> str:
    index = environment.get("SLURM_ARRAY_TASK_ID")
    return environment["SLURM_JOB_ID"] if index is None else f"{environment['SLURM_ARRAY_JOB_ID']}_{index}"


def checkpoints(one: Training) -> list[Path]:
    """The newest is the last."""
    return sorted((one.work / "checkpoints").glob("step-*.ckpt"))


def last_step(work: Path) -> int:
    try:
        return int(json.loads((work / "spool.jsonl").read_text().splitlines()[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0
