"""How a run is shown while it lasts: a live table on a terminal, plain lines elsewhere, nothing but warnings if quiet.

Everything goes to standard error, so that what a command prints as its result stands alone on standard output.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from ablations.snapshot import RunningJob, Spooled, Status, last_spooled

if TYPE_CHECKING:
    from rich.console import Console, Group

_FRAME = 0.2
"""Seconds between two updates of the live table."""
_QUIET_LINES = 30.0
"""Seconds without a line after which plain output says how far the sweep has got."""


class Display(Protocol):
    def update(self, status: Status) -> None:
        """Called often; shows as much of it as it likes."""
        ...

    def say(self, text: str) -> None:
        """Report that something ended."""
        ...

    def warn(self, text: str) -> None:
        """Report something a user must know, even a quiet one."""
        ...


@contextmanager
def open_display(*, quiet: bool) -> Iterator[Display]:
    if quiet:
        yield _Quiet()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield _Table(console, lambda picture: live.update(picture, refresh=True))


class _Quiet:
    def update(self, status: Status) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        print(f"ablate: {text}", file=sys.stderr, flush=True)


class _Lines:
    def __init__(self) -> None:
        self._last = time.monotonic()
        self._known: set[str] = set()

    def update(self, status: Status) -> None:
        for job in status.running:
            stage = f"{job.label}: {job.kind}"
            if stage not in self._known:
                self._known.add(stage)
                self._print(f"{stage} …")
        if time.monotonic() - self._last > _QUIET_LINES:
            jobs = "; ".join(f"{job.label}: {job.kind} {in_words(job)}" for job in status.running)
            self._print(f"{status.ended} of {status.total} trials; {jobs or 'waiting'}")

    def say(self, text: str) -> None:
        self._print(text)

    def warn(self, text: str) -> None:
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        with _terminal_may_go():
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class _Table:
    def __init__(self, console: "Console", draw: Callable[["Group"], None]) -> None:
        self._console = console
        self._draw = draw
        self._began = time.monotonic()
        self._ended_before: int | None = None
        self._drawn = 0.0

    def update(self, status: Status) -> None:
        if self._ended_before is None:
            self._ended_before = status.ended
        now = time.monotonic()
        if now - self._drawn >= _FRAME:
            self._drawn = now
            with _terminal_may_go():
                self._draw(self._picture(status, now - self._began))

    def say(self, text: str) -> None:
        with _terminal_may_go():
            self._console.print(text, markup=False, highlight=False)

    def warn(self, text: str) -> None:
        with _terminal_may_go():
            self._console.print(f"! {text}", style="yellow", markup=False, highlight=False)

    def _picture(self, status: Status, seconds: float) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        jobs = Table.grid(padding=(0, 2))
        nodes = max((len(job.node or "") for job in status.running), default=0)
        numbers = (8, 12, 7, 6, 9, 10)  # stage, bar, steps, rate, time left, loss
        room = self._console.width - sum(numbers) - 2 * len(numbers) - 2 - (nodes + 2 if nodes else 0)
        jobs.add_column(no_wrap=True, overflow="ellipsis", max_width=max(12, room))
        if nodes:
            jobs.add_column(no_wrap=True)
        for index, width in enumerate(numbers):
            jobs.add_column(no_wrap=True, justify="left" if index < 2 else "right", min_width=width)
        most = max(1, self._console.height - 4)
        for job in status.running[:most]:
            spooled = last_spooled(job.work)
            bar = ProgressBar(total=job.steps, completed=spooled.step if spooled else 0, width=12) if job.steps else ""
            where = [job.node or ""] if nodes else []
            jobs.add_row(Text(job.label), *where, job.kind, bar, *_cells(job, spooled))
        if len(status.running) > most:
            jobs.add_row(f"… and {len(status.running) - most} more")
        counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
        counts += f", {status.queued} job{'s' * (status.queued > 1)} queued" if status.queued else ""
        overall = Table.grid(padding=(0, 2))
        overall.add_row(
            Text(status.name, style="bold"),
            ProgressBar(total=max(1, status.total), completed=status.ended, width=24),
            f"{status.ended}/{status.total} trials",
            duration(seconds),
            self._left(status, seconds),
            _gpu_hours(status),
            Text(counts, style="dim"),
        )
        return Group(jobs, overall)

    def _left(self, status: Status, seconds: float) -> str:
        """Time until everything is done, if the rest takes as long as what has ended since the start."""
        ended = status.ended - (self._ended_before or 0)
        return f"{duration(seconds * (status.total - status.ended) / ended)} left" if ended else ""


def _gpu_hours(status: Status) -> str:
    if status.gpu_hours is None:
        return ""
    spent, left = status.gpu_hours
    return f"{spent:.1f} GPU-hours" + ("" if left is None else f", {left:.1f} left")


@contextmanager
def _terminal_may_go() -> Iterator[None]:
    """A closed window is no reason to end running jobs."""
    with suppress(OSError):
        yield


def _cells(job: RunningJob, spooled: Spooled | None) -> tuple[str, str, str, str]:
    """Steps, rate, time left, loss."""
    if spooled is None or job.steps is None:
        return "", "", duration(time.time() - job.started) if job.started else "", ""
    rate, left = "", ""
    if spooled.seconds_per_step:
        rate = f"{1 / spooled.seconds_per_step:.1f}/s"
        left = f"{duration((job.steps - spooled.step) * spooled.seconds_per_step)} left"
    return f"{spooled.step}/{job.steps}", rate, left, "" if spooled.loss is None else f"loss {spooled.loss:.3f}"


def in_words(job: RunningJob) -> str:
    """How far a job is: step, rate, time left, loss, as far as they are known."""
    return " ".join(cell for cell in _cells(job, last_spooled(job.work)) if cell)


def duration(seconds: float) -> str:
    """Such as 0:05, 12:30 or 3:02:01."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
