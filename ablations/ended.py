"""How the trials of a sweep ended, in one file: ``trials.jsonl``, a line for each time a trial's record was written.

Of several lines of a trial the last counts. It repeats the trials' records without their metrics and tracebacks.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LEFT_OUT = ("metrics", "stages")


class EndedFile:
    """For the one writer. A line that is there already is not written again."""

    def __init__(self, sweep: Path) -> None:
        self._sweep = sweep
        self._known: dict[str, dict[str, Any]] | None = None

    def note(self, record: Mapping[str, Any]) -> None:
        """Raises ``OSError``."""
        line = {name: value for name, value in record.items() if name not in _LEFT_OUT}
        if line["failure"]:
            line["failure"] = {name: value for name, value in line["failure"].items() if name != "traceback_tail"}
        if self._known is None:
            self._known = read_ended(self._sweep)
            _end_line(_path(self._sweep))
        if self._known.get(line["trial"]) != line:
            self._known[line["trial"]] = line
            with _path(self._sweep).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_ended(sweep: Path) -> dict[str, dict[str, Any]]:
    """By key of the trial, how it ended: its record without metrics. A line that is cut short is passed over."""
    found: dict[str, dict[str, Any]] = {}
    try:
        text = _path(sweep).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return found
    for line in text.splitlines():
        try:
            record = json.loads(line)
            found[record["trial"]] = record
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _path(sweep: Path) -> Path:
    return sweep / "trials.jsonl"


def _end_line(path: Path) -> None:
    """A kill may have cut the last line short; the next one is not to be written behind it."""
    try:
        with path.open("rb+") as file:
            if file.seek(0, 2) > 0:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
    except FileNotFoundError:
        return
