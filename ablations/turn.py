"""Taking turns as the one writer of a sweep: short processes take one look each, and no request for a look is lost.

A process that wants a look leaves the file ``look-wanted`` first. The holder of the sweep's lease removes it before it
looks, and checks for it again after releasing the lease, so what happened before a request is seen, whoever looks.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ablations.dispatch import SweepBusy, hold_sweep
from ablations.store import Store

_LOOK_AGAIN = 0.5
"""Seconds between two attempts to get the lease."""
_A_TURN = 30.0
"""Seconds; a turn hardly ever takes longer."""
_PATIENCE = 90.0
"""Seconds to wait for a holder that does not look; a dead one has lost its lease long before."""


def take_turn(store: Store, name: str, act: Callable[[threading.Event], None], *, patience: float = _PATIENCE) -> bool:
    """Call ``act`` as the one writer of the sweep, or leave it to the holder. Returns whether anybody has looked since
    this was called.

    The event that ``act`` gets is set if somebody takes the sweep over. Raises ``StoreError``.
    """
    wanted = store.sweep(name) / "look-wanted"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.touch()
    end = time.monotonic() + patience
    while True:
        try:
            with hold_sweep(store, name) as taken_over:
                wanted.unlink(missing_ok=True)
                act(taken_over)
        except SweepBusy:
            if not wanted.exists():
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(_LOOK_AGAIN)
            continue
        if not wanted.exists():
            return True


@contextmanager
def wait_for_sweep(store: Store, name: str, *, patience: float = _A_TURN) -> Iterator[threading.Event]:
    """``hold_sweep`` once the turns of others are over, for what this process must do itself. Raises ``SweepBusy`` if
    another process holds it for longer, ``StoreError``."""
    end = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                taken_over = stack.enter_context(hold_sweep(store, name))
                break
            except SweepBusy:
                if time.monotonic() >= end:
                    raise
                time.sleep(_LOOK_AGAIN)
        yield taken_over


def heed_turns(sweep: Path) -> None:
    """Remove requests for a look, for a holder that looks all the time. Raises ``OSError``."""
    (sweep / "look-wanted").unlink(missing_ok=True)
