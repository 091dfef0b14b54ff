"""Which processes belong to a development cluster, from /proc alone: no pid file can be stale, none can be missing.

Each daemon is started with the cluster's own ``SLURM_CONF``, a path that nobody else uses, and with its name; SLURM
gives the same ``SLURM_CONF`` to all that a job starts. What a job's processes start belongs to the cluster too, even
where it drops these variables, as long as its parents live. Linux only.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_DAEMON = "ABLATE_DEVCLUSTER_DAEMON"
_NODE = "SLURMD_NODENAME"
_KEEPERS = ("slurmstepd", "slurmscriptd")
_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Process:
    pid: int
    started: str
    """In clock ticks since the machine started; with the pid it names a process for good."""
    daemon: str | None = None
    """A daemon's name; ``None`` for other processes."""
    keeper: bool = False
    """Whether it is a helper of a daemon: one looks after each job. A process that is neither was started by a job."""


def marks(slurm_conf: Path, daemon: str) -> Mapping[str, str]:
    """Environment variables by which a daemon is recognised."""
    return {"SLURM_CONF": str(slurm_conf), _DAEMON: daemon}


def find(slurm_conf: Path) -> list[Process]:
    """The living processes of a cluster, as far as this user may see them."""
    found: dict[int, Process] = {}
    children: dict[int, list[_Entry]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it ended, or belongs to somebody else
            entry = _entry(int(name))
            children.setdefault(entry.parent, []).append(entry)
            environment = _environment(entry.pid)
            keeper = entry.command in _KEEPERS
            daemon = None if keeper else environment.get(_DAEMON)
            # A shell may have copied the variable; what runs on a node has the node's name besides.
            if environment.get("SLURM_CONF") == str(slurm_conf) and (daemon or keeper or _NODE in environment):
                found[entry.pid] = Process(pid=entry.pid, started=entry.started, daemon=daemon, keeper=keeper)
    parents = list(found)
    while parents:
        for entry in children.get(parents.pop(), ()):
            if entry.pid not in found:
                found[entry.pid] = Process(pid=entry.pid, started=entry.started)
                parents.append(entry.pid)
    return list(found.values())


def end(slurm_conf: Path, *, patience: float) -> list[Process]:
    """End every process of a cluster: the daemons at once, then those of jobs, which have ``patience`` seconds to end
    by themselves. Returns those that the kernel could not end in as long again: none, on a healthy machine."""
    processes = find(slurm_conf)
    jobs = [process for process in processes if process.daemon is None and not process.keeper]
    _signal((process for process in processes if process not in jobs), signal.SIGKILL)
    _signal(jobs, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while any(map(_alive, jobs)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    deadline = time.monotonic() + patience
    # Looked at twice, because a process that begins while its parent ends can be missed.
    while (left := find(slurm_conf) or find(slurm_conf)) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return left


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What /proc says of a process that is not a zombie."""

    pid: int
    parent: int
    command: str
    started: str


def _entry(pid: int) -> _Entry:
    """Raises ``OSError`` if there is no such process, or nothing but its exit code is left of it."""
    text = Path("/proc", str(pid), "stat").read_text()
    state, parent, *fields = text[text.rindex(")") + 2 :].split()
    if state in "ZX":
        raise ProcessLookupError(pid)
    command = text[text.index("(") + 1 : text.rindex(")")]
    return _Entry(pid=pid, parent=int(parent), command=command, started=fields[17])


def _environment(pid: int) -> dict[str, str]:
    entries = os.fsdecode(Path("/proc", str(pid), "environ").read_bytes()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _alive(process: Process) -> bool:
    with contextlib.suppress(OSError):
        return _entry(process.pid).started == process.started
    return False


def _signal(processes: Iterable[Process], number: int) -> None:
    for process in processes:
        if _alive(process):  # and nobody else has its number by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
