"""The loop around the dispatcher: from a plan to its end, or to Ctrl-C.

The launcher wakes it when a job ends, so that the next one starts at once. The first Ctrl-C stops it: running jobs save
their state first. The second ends them; they continue from their newest checkpoint when the sweep is run again.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from ablations.advance import Dispatcher
from ablations.errors import STOPPED, AblationError, ClusterSilent
from ablations.invocation import command
from ablations.lease import LeaseHeld, acquire
from ablations.plan import Plan
from ablations.progress import Display
from ablations.search import SearchDriver
from ablations.snapshot import Status
from ablations.stop_request import stop_requested
from ablations.store import Store, store_errors
from slurm.launcher import Launcher, LauncherError, Resources

_TICK = 0.2
"""Seconds after which the loop runs even if no job has ended."""

_STOPPING = {
    False: "Stopping: running jobs save their state first. Ctrl-C again ends them at once.",
    True: "Ending running jobs; when run again, they continue from their newest checkpoint.",
}


class SweepBusy(AblationError):
    """Another process runs the sweep."""

    exit_code = STOPPED


@dataclass(frozen=True, kw_only=True)
class Ended:
    status: Status
    stopped: bool
    """Whether it stopped on request, with work left."""


def dispatch(
    plan: Plan,
    *,
    store: Store,
    launcher: Launcher,
    resources: Resources,
    provenance: Callable[[], Mapping[str, Any]],
    display: Display,
    taken_over: threading.Event,
    search: SearchDriver | None = None,
    tick: Callable[[Status], None] = lambda status: None,
) -> Ended:
    """Run what is left of ``plan``, under the lease of ``hold_sweep`` that ``taken_over`` belongs to.

    ``tick`` is called about five times a second. Raises ``StoreError``, ``SweepBusy``, and ``AblationError`` where
    nothing can be run at all.
    """
    try:
        dispatcher = Dispatcher(
            plan,
            store=store,
            launcher=launcher,
            resources=resources,
            provenance=provenance,
            say=display.say,
            warn=display.warn,
        )
        heeded = 0
        with _Interrupts() as interrupts:
            while True:
                if search is not None and not heeded:
                    with store_errors(store.root):
                        search.step(dispatcher, capacity=launcher.capacity, now=time.monotonic())
                status = dispatcher.advance()
                display.update(status)
                more = search is not None and not (heeded or status.problem or search.complete)
                if dispatcher.finished and not more:
                    if search is not None:
                        with store_errors(store.root):
                            search.conclude()
                    return Ended(status=status, stopped=bool(heeded) and status.ended < status.total)
                if taken_over.is_set():
                    raise SweepBusy(f"another process took over {status.name} while this one did not respond")
                if (asked := max(interrupts.count, stop_requested(store.sweep(status.name)))) > heeded:
                    heeded = asked
                    display.say(_STOPPING[heeded > 1])
                    dispatcher.stop(kill=heeded > 1)
                tick(status)
                launcher.wait(_TICK)
    except LauncherError as error:
        raise ClusterSilent(str(error)) from None


@contextmanager
def hold_sweep(store: Store, name: str) -> Iterator[threading.Event]:
    """Be the one writer of a sweep's folder, which is created. The event is set if another process takes it over.

    Raises ``SweepBusy`` if there is another writer, ``StoreError``.
    """
    taken_over = threading.Event()
    folder = store.sweep(name)
    with store_errors(store.root):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lease = acquire(folder, on_lost=taken_over.set)
        except LeaseHeld as held:
            raise SweepBusy(
                f"{name} is already being run by {held.owner or 'a process that just started'}; "
                f"`{command('status', name, store=store.root)}` shows how far it has got"
            ) from None
    try:
        yield taken_over
    finally:
        lease.release()


class _Interrupts:
    """Counts Ctrl-C, SIGTERM and SIGHUP instead of being ended by them."""

    def __init__(self) -> None:
        self.count = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
