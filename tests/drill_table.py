"""The table of a drill: what was done, when the training went on, and what it did again."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drill_trainings import Training


@dataclass(frozen=True, kw_only=True)
class Done:
    """A fault that was committed."""

    fault: str
    time: float
    victim: Training | None = None
    step: int | None = None


def table(done: Sequence[Done], folder: Path) -> str:
    """In Markdown. ``folder``: the sweep's, with its logs."""
    started = done[0].time
    lines = ["| after | fault | at step | went on after | from step | repeated |", "|---|---|---|---|---|---|"]
    for one in done:
        after, step = _continued(one, folder)
        costs = ["", "", "", ""]
        if one.victim is not None and one.step is not None:
            repeated = "" if step is None else str(max(0, one.step - step))
            costs = [
                str(one.step),
                "" if after is None else f"{after:.0f} s",
                "" if step is None else str(step),
                repeated,
            ]
        lines.append(f"| {one.time - started:.0f} s | {one.fault} | {' | '.join(costs)} |")
    return "\n".join(lines)


def _continued(one: Done, folder: Path) -> tuple[float | None, int | None]:
    """Seconds from a fault until its victim trained again, and from which step."""
    if one.victim is None:
        return None, None
    for path in sorted(folder.rglob("attempt-*.log")):
        for line in path.read_text(errors="replace").splitlines():
            found = re.match(
                rf"(\d\d:\d\d:\d\d) .*pretrain/{one.victim.stage}"
                r"(?: begins|/work/checkpoints(?: has no whole state|/step-0*(\d+)\.ckpt is taken up))",
                line,
            )
            if found and (after := _seconds_of_day(found[1]) - _seconds_of_day(one.time)) > 0:
                return after, int(found[2] or 0)
    return None, None


def _seconds_of_day(moment: str | float) -> int:
    text = moment if isinstance(moment, str) else time.strftime("%H:%M:%S", time.localtime(moment))
    hours, minutes, seconds = map(int, text.split(":"))
    return hours * 3600 + minutes * 60 + seconds
