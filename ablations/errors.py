"""What can go wrong for a user, and the exit code that says so.

Every message says what, where, what is allowed and what to do. An exception that is no ``AblationError`` is a fault of
ours.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

OK = 0
UNEXPECTED = 1
BAD_INPUT = 2
TRIALS_FAILED = 3
STOPPED = 4
STORE_UNUSABLE = 5

EXIT_CODES = {
    OK: "all is done",
    UNEXPECTED: "a bug in the program itself; run again with --debug and report it",
    BAD_INPUT: "bad input: a mistake in a file, a name or an option; nothing was written",
    TRIALS_FAILED: "some trials failed or diverged; the others are done",
    STOPPED: "stopped with work left; run the same command again to continue",
    STORE_UNUSABLE: "the store, MLflow or a study's database cannot be used: full, read-only, or silent",
}


class AblationError(Exception):
    """Anything that ends a command with a message instead of a traceback."""

    exit_code = UNEXPECTED


class BadInput(AblationError):
    """A wrong name, option or file, other than a mistake at a place in a sweep file."""

    exit_code = BAD_INPUT


class StoreError(AblationError):
    """The store cannot be read or written. The message says what to do."""

    exit_code = STORE_UNUSABLE


class ClusterSilent(AblationError):
    """The cluster does not answer, or cannot be asked. Its jobs stay; the same command continues with them."""

    exit_code = STOPPED


class StudyAway(AblationError):
    """The database of a search's study cannot be used. The records are complete, and the study is made from them."""

    exit_code = STORE_UNUSABLE


class StudyGone(StudyAway):
    """The database can be used, but the study is no longer complete."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake in one file."""

    file: Path
    problem: str
    line: int | None = None
    key: str | None = None
    """The path of the offending key, such as ``axes.connector.kind``."""
    allowed: str | None = None
    nearest: str | None = None
    """The right spelling that is closest to what was written."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        text = f"{place}: {self.key}: {self.problem}" if self.key else f"{place}: {self.problem}"
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.nearest:
            text += f"; did you mean {self.nearest!r}?"
        return text


class SweepError(AblationError):
    """Mistakes in a sweep file or in a configuration it is based on."""

    exit_code = BAD_INPUT

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shown(value: Any) -> str:
    """A value for a message, as it stands in YAML; cut if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known spelling closest to ``word``, compared whole and by its last dotted part; ``None`` if none is close."""
    written = str(word)
    choices = list(dict.fromkeys(known))
    folded = {choice.lower().replace("-", "_"): choice for choice in reversed(choices)}
    matches = get_close_matches(written.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    if matches:
        return folded[matches[0]]
    last = written.rpartition(".")[2]
    by_last = {choice.rpartition(".")[2]: choice for choice in reversed(choices)}
    matches = get_close_matches(last, by_last, n=1, cutoff=0.6)
    return by_last[matches[0]] if matches else None
