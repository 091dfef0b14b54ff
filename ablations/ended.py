"""How the trials of a sweep ended, in one file: ``trials.jsonl``, a line for each time a trial's record was written.

Of several lines of a trial the last counts. It repeats the trials' records without their metrics and tracebacks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.json_lines import LineWriter, read_lines

_LEFT_OUT = ("metrics", "stages")


class EndedFile:
    """For the one writer. A line that is there already is not written again."""

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
    """By key of the trial, how it ended: its record without metrics. A line that is cut short is passed over."""
    return {line["trial"]: line for line in read_lines(_path(sweep)) if isinstance(line.get("trial"), str)}


def _path(sweep: Path) -> Path:
    return sweep / "trials.jsonl"
