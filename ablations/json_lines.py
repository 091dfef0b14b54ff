"""Files of one JSON object per line, written by one process at a time, which may be killed while it writes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class LineWriter:
    def __init__(self, path: Path) -> None:
        """``path`` need not exist, nor its folder."""
        self._path = path
        self._whole = False

    def write(self, line: Mapping[str, Any]) -> None:
        """Raises ``OSError``."""
        if not self._whole:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _end_last_line(self._path)
            self._whole = True
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every object of a file, oldest first; none if there is no file. A line that is cut short or no object is left
    out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    lines = [line for line in text.split("\n") if line]
    try:
        values = json.loads(f"[{','.join(lines)}]")  # all at once: takes half the time
    except (ValueError, RecursionError):
        values = [_parsed(line) for line in lines]
    yield from (value for value in values if isinstance(value, dict))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _end_last_line(path: Path) -> None:
    """End a last line that a kill cut short, so that the next one is not appended to it."""
    try:
        with path.open("rb+") as file:
            if file.seek(0, 2) > 0:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    file.write(b"\n")
    except FileNotFoundError:
        return
