"""Keeps MLflow up to date while the dispatcher runs, in a process of its own: MLflow is slow to import and to write.

The process starts when there is something to write for the first time, and syncs each time it is asked. It never holds
up a dispatch, and what it could not write is written by the next run: the records are the truth.
"""

import contextlib
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from ablations.errors import AblationError
from slurm.parent import die_with

_SECONDS_APART = 15.0
"""Seconds between two syncs of a running sweep: its curves are half a minute old at most."""


class BackgroundSync:
    """Syncs one sweep's folder to MLflow when asked; requests made while it is busy are one request."""

    def __init__(self, folder: Path, *, store: Path, uri: str | None) -> None:
        self._arguments = [str(os.getpid()), str(folder), str(store), *([uri] if uri is not None else [])]
        self._log = folder / "tracking.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._busy = False
        self._wanted = False
        self._asked = time.monotonic()
        self.problem = ""
        """What the last sync failed with; empty if it did not."""

    @property
    def busy(self) -> bool:
        """Whether a request has not been answered yet."""
        self._listen(timeout=0.0)
        return self._busy

    def request(self) -> None:
        """Sync once more, now or after the one under way."""
        self._wanted = True
        self._asked = time.monotonic()
        self._listen(timeout=0.0)

    def now_and_then(self) -> None:
        """Request a sync if the last request, or the beginning, is some time ago."""
        if time.monotonic() - self._asked > _SECONDS_APART:
            self.request()

    def finish(self, *, tick: Callable[[], None] = lambda: None) -> None:
        """Wait until nothing is left to do; ``tick`` is called now and then."""
        while self._busy or self._wanted:
            self._listen(timeout=0.2)
            tick()

    def last_words(self) -> None:
        """Sync once more if MLflow was written before; otherwise it is not worth the seconds that its import takes."""
        if self._process is not None:
            self.request()
            self.finish()

    def close(self) -> None:
        """End the process, in the middle of a sync if need be."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _listen(self, *, timeout: float) -> None:
        if self._busy:
            assert self._process is not None
            assert self._process.stdout is not None
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                return
            answer = self._process.stdout.readline().decode(errors="replace").strip()
            self._busy = False
            self.problem = "" if answer == "done" else answer or f"the process ended; see {self._log}"
            if not answer:
                self.close()
        if self._wanted:
            self._wanted, self._busy = False, True
            self._ask()

    def _ask(self) -> None:
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "ablations.background_sync", *self._arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C on the terminal is for the dispatcher, which ends this one
                )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone: noticed when its answer does not come
            self._process.stdin.write(b"sync\n")
            self._process.stdin.flush()


def main(parent: str, folder: str, store: str, uri: str | None = None) -> None:
    """Answer each line of standard input with ``done`` or what went wrong, in one line; die with ``parent``."""
    die_with(int(parent))  # so that the next dispatcher's process finds nobody writing
    os.nice(10)  # training goes first
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # anything else that is printed goes to the log
    tracker = None
    for _ in sys.stdin:
        try:
            if tracker is None:
                from ablations.tracking import Tracker

                tracker = Tracker(uri, Path(store))
            tracker.sync(Path(folder))
            answer = "done"
        except Exception as error:
            traceback.print_exc()
            said = str(error) if isinstance(error, AblationError) else f"{type(error).__name__}: {error}"
            answer = " ".join(said.split())
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
