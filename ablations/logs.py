"""``ablate logs``: what the jobs of a sweep printed, by trial or shared stage and attempt."""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ablations.ended import read_ended
from ablations.errors import OK, BadInput, nearest
from ablations.folder import submission_of, sweep_folder
from ablations.invocation import command
from ablations.lease import holder
from ablations.outline import read_outline

_LOOK_AGAIN = 0.2
"""Seconds between two looks at a log that is followed."""
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class _Log:
    """The logs of one trial or one shared stage."""

    key: str
    label: str
    state: str
    attempts: Mapping[int, Path]


def logs(
    sweep: str, *, store: Path, trial: str | None, attempt: int | None, follow: bool, lines: int, json_output: bool
) -> int:
    """Print the last ``lines`` lines of a log, and with ``follow`` what is added while the sweep runs.

    ``trial`` is the key of a trial or a stage, or its beginning, or ``ARM`` or ``ARM:SEED`` with the arm's label.
    Without it, the existing logs are listed. With ``json_output``, a line for each attempt says where its log is, and
    no log is printed. Raises ``BadInput`` if nothing fits.
    """
    if json_output and follow:
        raise BadInput("--json lists where the logs are, --follow prints one: leave out one of the two")
    folder = sweep_folder(sweep, store)
    known = _known(folder)
    if json_output:
        for log in known if trial is None else [_chosen(known, trial, folder)]:
            _print_places(log, log.attempts if attempt is None else [_attempt(log, attempt)])
        return OK
    if trial is None:
        for log in known:
            attempts = f"{len(log.attempts)} attempt{'s' if len(log.attempts) > 1 else ''}"
            print(f"{log.key}  {log.state:8}  {attempts:11}  {log.label}")
        if not known:
            print(f"no job of {folder.name} has started yet")
        return OK
    log = _chosen(known, trial, folder)
    path = log.attempts[_attempt(log, attempt)]
    print(f"==> {path} <==", file=sys.stderr)
    with path.open("rb") as file:
        _to_last_lines(file.fileno(), lines)
        _copy(file.fileno())
        while follow and _may_grow(log, folder):
            time.sleep(_LOOK_AGAIN)
            _copy(file.fileno())
        _copy(file.fileno())
    return OK


def _attempt(log: _Log, wanted: int | None) -> int:
    """The attempt that is wanted, or else the last one."""
    number = max(log.attempts) if wanted is None else wanted
    if number not in log.attempts:
        there = ", ".join(map(str, sorted(log.attempts)))
        raise BadInput(f"--attempt {number}: {log.label} has only the attempts {there}")
    return number


def _print_places(log: _Log, attempts: Iterable[int]) -> None:
    for number in sorted(attempts):
        path = str(log.attempts[number].absolute())
        print(json.dumps({"trial": log.key, "label": log.label, "state": log.state, "attempt": number, "path": path}))


def _may_grow(log: _Log, folder: Path) -> bool:
    if submission_of(folder) is None:
        return holder(folder) is not None
    return any(one.key == log.key and one.state == "open" for one in _known(folder))


def _known(folder: Path) -> list[_Log]:
    """The logs that exist: of shared stages by name, then of trials in the plan's order."""
    outline = read_outline(folder)
    ended = read_ended(folder)
    shared: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.glob("jobs/*.attempt-*.log")):
        name, _, number = path.stem.rpartition(".attempt-")
        shared.setdefault(name, {})[int(number)] = path
    found = []
    for name, attempts in shared.items():
        kind, _, key = name.rpartition("-")
        done = (folder.parents[1] / kind / key / "record.json").exists()
        found.append(_Log(key=key, label=f"{kind} (shared)", state="done" if done else "open", attempts=attempts))
    for key, arm, seed in outline.trials:
        own = folder / "trials" / key
        attempts = {int(path.stem.removeprefix("attempt-")): path for path in own.glob("attempt-*.log")}
        record = ended.get(key, {})
        if not attempts:  # it failed with a shared stage
            attempts = shared.get(str((record.get("failure") or {}).get("stage", "")).replace("/", "-"), {})
        if attempts:
            label = f"{outline.labels[arm]}:{seed}"
            state = record.get("state", "open")
            found.append(_Log(key=key, label=label, state=state, attempts=attempts))
    return found


def _chosen(known: list[_Log], wanted: str, folder: Path) -> _Log:
    """The log that is meant. Several keys with this beginning, or several seeds of an arm, are ambiguous."""
    fitting = [log for log in known if log.key.startswith(wanted) or log.label == wanted]
    fitting = fitting or [log for log in known if log.label.rpartition(":")[0] == wanted]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        choices = ", ".join(f"{log.key} ({log.label})" for log in fitting[:10])
        raise BadInput(f"{wanted}: could be any of {choices}; give a longer key, or ARM:SEED")
    close = nearest(wanted, [name for log in known for name in (log.key, log.label)])
    listing = command("logs", folder.name, store=folder.parent.parent)
    raise BadInput(
        f"{wanted}: no trial or shared stage of {folder.name} with a log has this key or label; "
        f"`{listing}` lists them" + (f"; did you mean {close!r}?" if close else "")
    )


def _to_last_lines(file: int, lines: int) -> None:
    """Move to where the last ``lines`` lines begin, reading from the end."""
    end = position = os.fstat(file).st_size
    tail = b""
    while position > 0 and tail.count(b"\n") <= lines:
        position = max(0, position - _BLOCK)
        os.lseek(file, position, os.SEEK_SET)
        tail = os.read(file, end - position)
    kept = tail.splitlines(keepends=True)[-lines:]
    os.lseek(file, end - sum(map(len, kept)), os.SEEK_SET)


def _copy(file: int) -> None:
    """Print the file from the current position on."""
    while block := os.read(file, _BLOCK):
        sys.stdout.write(block.decode(errors="replace"))
    sys.stdout.flush()
