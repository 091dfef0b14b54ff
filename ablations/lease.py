"""Who works in a folder: one holder at a time, also across machines that share a file system.

A lease is a file ``lease-<n>`` created with ``O_EXCL``; its modification time is the holder's heartbeat. A holder on
this machine is judged by its process alone: it holds as long as it is alive. A holder elsewhere that missed three beats
counts as gone, by the file system's own clock for whoever wants the lease. Taking over creates ``lease-<n+1>``, which
at most one contender can do, and removes the old file, by which a holder that only slept learns that it lost: a holder
therefore calls ``confirm`` before it commits anything.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

BEAT = 10.0
"""Seconds between heartbeats."""
_MISSED_BEATS = 3
_PREFIX = "lease-"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """What a lease file says about its holder."""

    token: str
    host: str
    machine: str
    """Identifies the running system and the process namespace in which ``pid`` has a meaning."""
    pid: int
    started: str
    """When the process started, as the kernel counts; tells it apart from a later one with the same number."""
    beat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class LeaseHeld(Exception):
    """Another process works here."""

    def __init__(self, folder: Path, owner: Owner | None) -> None:
        super().__init__(f"{folder} is held by {owner or 'a process that is just starting'}")
        self.owner = owner


class LeaseLost(Exception):
    """The lease was taken over while its holder did not beat; the holder must no longer write here."""


class Lease:
    """A held lease. Beats in a thread of its own until released or lost."""

    def __init__(self, path: Path, owner: Owner, on_lost: Callable[[], None]) -> None:
        self._path = path
        self._owner = owner
        self._on_lost = on_lost
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name=f"lease {path}", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Raises ``LeaseLost`` if somebody took over."""
        owner = _read(self._path)
        if owner is None or owner.token != self._owner.token:
            raise LeaseLost(f"{self._path} was taken over; this process was presumed dead")

    def release(self) -> None:
        self._over.set()
        self._thread.join()
        with contextlib.suppress(LeaseLost, OSError):
            self.confirm()
            self._path.unlink()

    def _keep_beating(self) -> None:
        while not self._over.wait(self._owner.beat):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._on_lost()
                return
            except OSError:  # a file system that is away may come back before anyone takes over
                continue


def acquire(folder: Path, *, on_lost: Callable[[], None] = lambda: None, beat: float = BEAT) -> Lease:
    """Hold ``folder``, which must exist. ``on_lost`` is called from another thread. Raises ``LeaseHeld``,
    ``OSError``."""
    seen = _leases(folder)
    if seen:
        now = _file_system_time(folder)
        for number in seen:
            if (owner := _live_owner(_path(folder, number), now=now, unknown_beat=beat)) is not None:
                raise LeaseHeld(folder, owner if isinstance(owner, Owner) else None)
    owner = Owner(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        machine=_this_machine(),
        pid=os.getpid(),
        started=_process_start(os.getpid()) or "",
        beat=beat,
    )
    path = _path(folder, max(seen, default=0) + 1)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise LeaseHeld(folder, _read(path)) from None
    try:
        os.write(file, json.dumps(asdict(owner)).encode())
    finally:
        os.close(file)
    others = [number for number in _leases(folder) if number not in seen and _path(folder, number) != path]
    if others:  # somebody came between our look and our file; whoever sees another gives way
        path.unlink()
        raise LeaseHeld(folder, _read(_path(folder, others[0])))
    for number in seen:
        _path(folder, number).unlink(missing_ok=True)
    return Lease(path, owner, on_lost)


def holder(folder: Path) -> Owner | None:
    """Who holds ``folder`` now, without touching it."""
    for number in _leases(folder):
        owner = _live_owner(_path(folder, number), now=time.time(), unknown_beat=BEAT)
        if isinstance(owner, Owner):
            return owner
    return None


def _leases(folder: Path) -> list[int]:
    """The numbers of the lease files."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [int(name[len(_PREFIX) :]) for name in names if name.startswith(_PREFIX) and name[len(_PREFIX) :].isdigit()]


def _path(folder: Path, number: int) -> Path:
    return folder / f"{_PREFIX}{number}"


def _live_owner(path: Path, *, now: float, unknown_beat: float) -> Owner | bool | None:
    """The holder if it is alive, ``True`` for a live one whose name is not written yet, ``None`` if there is none."""
    try:
        last_beat = path.stat().st_mtime
    except FileNotFoundError:
        return None
    owner = _read(path)
    if owner is None:
        return True if now - last_beat <= _MISSED_BEATS * unknown_beat else None
    if owner.machine == _this_machine():
        return owner if _process_start(owner.pid) == owner.started else None
    return owner if now - last_beat <= _MISSED_BEATS * owner.beat else None


def _read(path: Path) -> Owner | None:
    """The owner that a file names; ``None`` if it is gone, or not filled by its creator (which may have died
    before)."""
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _file_system_time(folder: Path) -> float:
    """The current time by the clock that sets the times of files; on a shared file system, not this machine's."""
    probe = folder / f"clock-{secrets.token_hex(8)}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


@cache
def _this_machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _process_start(pid: int) -> str | None:
    """When a process started; ``None`` if it is gone, or a zombie."""
    try:
        # After the name in brackets, which may hold anything: state (field 3) ... start time (field 22).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
