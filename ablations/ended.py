"""How the trials of a sweep ended: each in its ``record.json``, and all of them in ``trials.jsonl``, which has a line
for each time a trial's record was written.

Of several lines about a trial, the last counts. They repeat the trials' records without stages, metrics and tracebacks.
A record or a line that does not hold what was written counts as missing: both are made again from the stages' records.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.json_lines import LineWriter, read_lines
from ablations.store import are_numbers, has_texts, is_number, object_in

_LEFT_OUT = ("metrics", "stages")


class EndedFile:
    """Writes ``trials.jsonl``, for the one writer. A line that is there already is not written again."""

    def __init__(self, sweep: Path) -> None:
        self._sweep = sweep
        self._lines = LineWriter(_path(sweep))
        self._known: dict[str, dict[str, Any]] | None = None

    def note(self, record: Mapping[str, Any]) -> None:
        """Raises ``OSError``."""
        line = {name: value for name, value in record.items() if name not in _LEFT_OUT}
        if line["failure"]:
            line["failure"] = {name: value for name, value in line["failure"].items() if name != "traceback_tail"}
        if self._known is None:
            self._known = read_ended(self._sweep)
        if self._known.get(line["trial"]) != line:
            self._known[line["trial"]] = line
            self._lines.write(line)


def read_ended(sweep: Path) -> dict[str, dict[str, Any]]:
    """How each trial ended, by its key: its record without metrics. A line that is cut short is skipped."""
    return {line["trial"]: line for line in read_lines(_path(sweep)) if _says_how_it_ended(line)}


def read_trial(path: Path) -> dict[str, Any] | None:
    """A trial's record; ``None`` if there is none, or none that can be used."""
    record = object_in(path)
    return record if record is not None and _says_how_it_ended(record) and are_numbers(record.get("metrics")) else None


def _says_how_it_ended(record: Mapping[str, Any]) -> bool:
    failure = record.get("failure")
    return (
        all(isinstance(record.get(name), str) for name in ("trial", "state"))
        and all(record.get(name) is None or is_number(record[name]) for name in ("objective", "seconds"))
        and (failure is None or has_texts(failure, "stage", "class", "error"))
    )


def _path(sweep: Path) -> Path:
    return sweep / "trials.jsonl"
