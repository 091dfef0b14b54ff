"""The outcomes of a run's attempts, kept in ``attempts.jsonl`` so that the next process continues the count.

A run begins when somebody asks for the sweep, and may be carried on by many processes one after another. Only the lines
after its beginning count: what failed in an earlier run is tried again.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablations.json_lines import LineWriter, read_lines

DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An attempt at a job that ended."""

    job: str
    number: int
    outcome: str
    """``done``, ``pruned``, ``cancelled``, ``stopped`` (with the whole sweep), or an ``Outcome``."""
    left: int = 0
    """Number of its stages that had no record when it ended."""
    step: int = 0
    """Step of the newest checkpoint of the first of these stages."""
    node: str | None = None
    """Where it ran, if that node is to be avoided from now on."""
    kinds: tuple[str, ...] = ()
    """Kinds of those of its stages that are recorded."""
    stage: str | None = None
    """Key of the stage that it did not finish, if the job was given up."""
    failure: Mapping[str, Any] | None = None
    """Why the job was given up."""
    seconds: float = 0.0
    """How long it held its resources, as far as is known: a cluster's job that was killed with its script may have held
    them longer."""
    excused: bool = False
    """Somebody has asked for a retry since, so it does not count against trying other jobs."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A summary of the attempts, for readers that only report it."""

    given_up: set[str] | None
    """Keys of the stages that this run does not try again; ``None`` if nothing was ever noted."""
    outcomes: Counter[str]
    """Outcomes of this run's attempts."""
    seconds: float
    """How long attempts held their resources, including those of earlier runs."""


def read_tried(sweep: Path) -> Tried:
    lines = list(read_lines(_path(sweep)))
    current = _since_beginning(lines)
    return Tried(
        given_up={line["stage"] for line in current if line["stage"] is not None} if lines else None,
        outcomes=Counter(line["outcome"] for line in current),
        seconds=sum(line.get("seconds", 0.0) for line in lines),
    )


class AttemptsFile:
    """Reads and writes ``attempts.jsonl``, for the one writer."""

    def __init__(self, sweep: Path) -> None:
        self._path = _path(sweep)
        self._lines = LineWriter(self._path)

    def begin(self) -> None:
        """Begin a run: what was noted before no longer counts. Raises ``OSError``."""
        self._lines.write({"begun": round(time.time(), 3)})

    def forget(self, stages: Iterable[str], *, jobs: Iterable[str]) -> None:
        """Discount what was noted about these ``stages``, by key, and ``jobs``, by name. Raises ``OSError``."""
        self._lines.write({"forgotten": {"stages": sorted(stages), "jobs": sorted(jobs)}})

    def note(self, attempt: Attempt) -> None:
        """Raises ``OSError``."""
        line = {name: value for name, value in asdict(attempt).items() if name != "excused"}
        self._lines.write({**line, "time": round(time.time(), 3)})

    def read(self) -> list[Attempt]:
        """What was noted since the run began, oldest first."""
        return [Attempt(**{**line, "kinds": tuple(line["kinds"])}) for line in _since_beginning(read_lines(self._path))]


def _since_beginning(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the attempts that count, without the time at which they were written."""
    found: list[dict[str, Any]] = []
    for line in lines:
        if "begun" in line:
            found = []
        elif "forgotten" in line:
            stages, jobs = line["forgotten"]["stages"], line["forgotten"]["jobs"]
            left = [one for one in found if one["stage"] not in stages and one["job"] not in jobs]
            found = [{**one, "excused": True} for one in left]
        elif line.pop("time", None) is not None:
            found.append(line)
    return found


def _path(sweep: Path) -> Path:
    return sweep / "attempts.jsonl"
