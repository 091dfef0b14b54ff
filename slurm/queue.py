"""What SLURM says about our jobs: one question for all of them, whether or not the cluster keeps accounts.

``squeue`` is asked first; it shows every job of the user, including ended ones for some minutes. Jobs that it no longer
shows are looked up with one call of ``sacct`` and, if there is no accounting or it does not know them, with
``scontrol``. The parsers are pure, and skip lines that they do not understand.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slurm.commands import Slurm

_SQUEUE = "JobArrayID:|,State:|,RestartCnt:|,exit_code:|,Reason:|,NodeList:|,Comment:|"
_GROWTH = 1.5
_LONGEST = 6.0
"""The longest interval, in multiples of the shortest."""

QUEUED = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
ENDED = frozenset({
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY",
    "REVOKED",
})  # fmt: skip
"""States that a job does not leave. A state in neither set is some form of running."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One job, as SLURM sees it."""

    state: str
    """SLURM's word, such as ``RUNNING``."""
    restarts: int | None = None
    """How often it was queued again; ``None`` if that was not said."""
    exit_code: int | None = None
    signal: int | None = None
    """What ended the batch script, for an ended job."""
    reason: str = ""
    node: str = ""
    """Where it runs or ran; several nodes as SLURM writes them. Empty if that was not said."""
    comment: str = ""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def stuck(self) -> bool:
        """Whether it was queued again and is held by SLURM itself, as after a node failed to launch it (its prolog,
        say): it never starts unless somebody releases it. A job that a person holds (``JobHeldUser``, ``JobHeldAdmin``)
        is not stuck."""
        held = "requeued held" in self.reason.replace("_", " ") or self.reason == "JobHoldMaxRequeue"
        return self.state in QUEUED and held


@dataclass(frozen=True, kw_only=True)
class Look:
    jobs: Mapping[str, Seen]
    """Jobs by id, ``12`` or ``12_3``: every one of this user that ``squeue`` shows, and those asked for that ``sacct``
    or ``scontrol`` knows."""
    problem: str = ""
    """Why nothing could be seen; then ``jobs`` is empty."""


class Pace:
    """When to look next: soon after something happened, later and later while nothing does."""

    def __init__(self, seconds: float) -> None:
        self._shortest = self._interval = seconds
        self.due = 0.0

    def looked(self, now: float, *, changed: bool) -> None:
        self._interval = self._shortest if changed else min(self._interval * _GROWTH, self._shortest * _LONGEST)
        self.due = now + self._interval

    def hurry(self, now: float) -> None:
        """Look soon, because something was done that will show."""
        self._interval = self._shortest
        self.due = min(self.due, now + self._interval)


def look(slurm: Slurm, ids: Iterable[str]) -> Look:
    """All jobs of the user that are in the queue, and whatever is known of those in ``ids``."""
    answer = slurm.ask("squeue", "--me", "--noheader", "--array", "--states=all", f"--Format={_SQUEUE}")
    if not answer.ok:
        return Look(jobs={}, problem=answer.problem or "squeue gives no reason")
    found = parse_squeue(answer.text)
    missing = sorted(set(ids) - found.keys())
    if missing:
        answer = slurm.ask(
            "sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(missing)}", "--format=JobID,State,ExitCode"
        )
        # A job that only the accounts call alive is not: the controller has forgotten it.
        ended = {name: seen for name, seen in parse_sacct(answer.text).items() if seen.ended}
        known = {name: seen for name, seen in ended.items() if name in missing}
        if numbers := {one.partition("_")[0] for one in missing if one not in known}:
            which = numbers if len(numbers) == 1 else ()  # it does not take several at a time, so ask for all there are
            known |= parse_scontrol(slurm.ask("scontrol", "--oneliner", "show", "job", *which).text)
        found |= {name: known[name] for name in missing if name in known}
    return Look(jobs=found)


def parse_squeue(text: str) -> dict[str, Seen]:
    """The output of ``squeue`` with ``--array`` and our fields."""
    found = {}
    for line in text.splitlines():
        fields = line.split("|", 6)
        if len(fields) == 7 and re.fullmatch(r"\d+(_\d+)?", fields[0]):
            name, state, restarts, exit_code, reason, node, comment = fields
            code, signal = _raw_exit(exit_code)
            found[name] = Seen(
                state=state,
                restarts=int(restarts) if restarts.isdigit() else None,
                exit_code=code if state in ENDED else None,
                signal=signal if state in ENDED else None,
                reason="" if reason == "None" else reason,
                node=node,
                comment=comment.removesuffix("|"),
            )
    return found


def parse_sacct(text: str) -> dict[str, Seen]:
    """The output of ``sacct --parsable2 --format=JobID,State,ExitCode``; the last line of a job counts.

    ``sacct`` shows an exit code of 139, which stands for signal 11, as 11: what the job's script said is better.
    """
    found = {}
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == 3 and re.fullmatch(r"\d+(_\d+)?", fields[0]):
            state = fields[1].split()[0] if fields[1] else ""  # "CANCELLED by 1000"
            code, signal = _exit(fields[2]) if state in ENDED else (None, None)
            found[fields[0]] = Seen(state=state, exit_code=code, signal=signal)
    return found


def parse_scontrol(text: str) -> dict[str, Seen]:
    """The output of ``scontrol --oneliner show job``."""
    found = {}
    for line in text.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name, state = words.get("JobId", ""), words.get("JobState", "")
        if "ArrayTaskId" in words:
            name = f"{words.get('ArrayJobId')}_{words['ArrayTaskId']}"
        if re.fullmatch(r"\d+(_\d+)?", name) and state:
            code, signal = _exit(words.get("ExitCode", "")) if state in ENDED else (None, None)
            restarts = words.get("Restarts", "")
            reason = words.get("Reason", "None")
            found[name] = Seen(
                state=state,
                restarts=int(restarts) if restarts.isdigit() else None,
                exit_code=code,
                signal=signal,
                reason="" if reason == "None" else reason,
            )
    return found


def _raw_exit(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal as ``squeue`` has them: the kernel's status of an ended process, in one number."""
    if not text.isdigit():
        return _exit(text)
    signal = int(text) & 0x7F
    return 0 if signal else int(text) >> 8, signal or None


def _exit(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal in a text such as ``3:0`` or ``0:9``."""
    found = re.fullmatch(r"(\d+):(\d+)", text)
    return (int(found[1]), int(found[2]) or None) if found else (None, None)
