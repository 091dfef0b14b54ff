"""What a sweep's folders hold, read as they are: the plan, the trials' records, their stages' records.

Standard library only, so that a report that is up to date can say so without loading pandas or plotly. Nothing here
writes, and nothing missing or damaged raises an error, except the plan: a damaged trial has the state ``unreadable``
and the reason, so that the report shows it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATES = ("done", "pruned", "failed", "diverged", "missing", "unreadable")
"""``missing``: planned, without a record yet. ``unreadable``: there is a record, but it is damaged."""


SCORES = "item_scores.npz"
"""A finished evaluation's file with the scores of single items."""


class ReportError(RuntimeError):
    """A report that cannot be made: what is wrong, where, and what to do."""


class CannotWrite(ReportError):
    """The folder for the report cannot be written."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm at one seed, as planned and as it ended."""

    key: str
    arm: str
    seed: int
    state: str
    """One of ``STATES``."""
    stages: tuple[tuple[str, str], ...]
    """(kind, key) of its stages, in the order of the plan."""
    failure: Mapping[str, Any]
    """Class and error of a failed or diverged trial; empty otherwise."""
    problem: str = ""
    """Why an ``unreadable`` trial is unreadable."""

    @property
    def evaluation(self) -> str:
        """Key of its evaluation stage, which is the trial's own key."""
        return self.key


@dataclass(frozen=True, kw_only=True)
class SweepRecords:
    """Everything the report is made from, except the items' scores."""

    plan: Mapping[str, Any]
    trials: tuple[Trial, ...]
    stages: Mapping[tuple[str, str], Mapping[str, Any]]
    """Records of finished stages by (kind, key); a stage without a readable record is left out."""
    store: Path
    digest: str
    """Changes when the plan, any record that was read, or the size of a file of scores changes."""

    def work(self, kind: str, key: str) -> Path:
        """The folder with a finished stage's files."""
        return self.store / kind / key / "work"


def read_records(folder: Path, *, store: Path) -> SweepRecords:
    """Read the sweep at ``folder`` (``store/sweeps/<name>``). Raises ``ReportError`` where no plan can be read."""
    reader = _Reader()
    plan, problem = reader.read(folder / "plan.json")
    if plan is None:
        raise ReportError(
            f"{folder / 'plan.json'}: {problem or 'not there'}; a report needs a sweep that was planned: "
            "run `ablate run SWEEP.yaml` first, or name the store with --store"
        )
    stages: dict[tuple[str, str], Mapping[str, Any]] = {}
    trials = []
    for planned in plan["trials"]:
        chain = tuple((stage["kind"], stage["key"]) for stage in planned["stages"])
        for kind, key in chain:
            if (kind, key) not in stages:
                record, _ = reader.read(store / kind / key / "record.json")
                if record is not None and isinstance(record.get("result"), dict):
                    stages[kind, key] = record
                if kind == "evaluate":
                    reader.note_size(store / kind / key / "work" / SCORES)
        record, problem = reader.read(folder / "trials" / planned["key"] / "record.json")
        trials.append(_trial(planned, chain, record, problem, stages))
    return SweepRecords(plan=plan, trials=tuple(trials), stages=stages, store=store, digest=reader.hexdigest())


def _trial(
    planned: Mapping[str, Any],
    chain: tuple[tuple[str, str], ...],
    record: Mapping[str, Any] | None,
    problem: str,
    stages: Mapping[tuple[str, str], Mapping[str, Any]],
) -> Trial:
    state = "missing" if record is None else str(record.get("state"))
    if record is not None and state not in STATES:
        problem = f"record.json: unknown state {state!r}"
    if state == "done" and ("evaluate", planned["key"]) not in stages:
        problem = f"done, but evaluate/{planned['key']}/record.json is missing or damaged; `ablate run` redoes it"
    return Trial(
        key=planned["key"],
        arm=planned["arm"],
        seed=planned["seed"],
        state="unreadable" if problem else state,
        stages=chain,
        failure=(record or {}).get("failure") or {},
        problem=problem,
    )


class _Reader:
    """Reads JSON files and keeps a digest of everything read, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def read(self, path: Path) -> tuple[dict[str, Any] | None, str]:
        """The object and ``""``; or ``None`` and why not, ``""`` where there is no file."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            self._hash.update(b"\0absent")
            return None, ""
        except OSError as error:
            self._hash.update(b"\0denied")
            return None, f"{path.name}: cannot be read ({error.strerror})"
        self._hash.update(len(content).to_bytes(8, "big") + content)
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            return None, f"{path.name}: not JSON ({error})"
        return (value, "") if isinstance(value, dict) else (None, f"{path.name}: not a JSON object")

    def note_size(self, path: Path) -> None:
        """Add to the digest the size of a file that is read later, and that only damage changes."""
        try:
            size = path.stat().st_size
        except OSError:
            size = -1
        self._hash.update(f"\0size {size}".encode())

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
