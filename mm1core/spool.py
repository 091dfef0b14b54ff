"""The metrics of a run as JSON lines, ``{"step": int, "time": unix seconds, "metrics": {name: number}}``.

One process appends; anyone may read at any time. A line cut short by a kill does not count: readers skip it and
``trim`` removes it.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mm1core.storage import refusals, write_atomically


def append(path: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Add one line. Raises ``StorageError`` where that fails."""
    line = json.dumps({"step": step, "time": round(time.time(), 3), "metrics": dict(metrics)}, allow_nan=False)
    with refusals(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines, in order; none if there is no file."""
    return [json.loads(line) for line in _whole_lines(path)]


def trim(path: Path, step: int) -> None:
    """Remove the lines of steps after ``step``: a run that resumes there writes them again."""
    lines = _whole_lines(path)
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    content = "".join(line + "\n" for line in kept).encode()
    if path.exists() and path.read_bytes() != content:
        write_atomically(path, lambda file: file.write(content))


def sync(path: Path) -> None:
    """Flush the lines to disk. Called before a checkpoint is saved, since a resumed run does not write them again."""
    if path.exists():
        with refusals(path), path.open("rb") as file:
            os.fsync(file.fileno())


def _whole_lines(path: Path) -> list[str]:
    return list(_parseable(path.read_text(encoding="utf-8", errors="replace"))) if path.exists() else []


def _parseable(text: str) -> Iterator[str]:
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and {"step", "metrics"} <= entry.keys():
            yield line
