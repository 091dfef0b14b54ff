"""Why an attempt failed: the class of the failure, which decides what happens next, and what is kept of it.

``killed``, ``node_fault`` and ``out_of_memory`` are tried again, ``diverged`` is a result, ``code_error``,
``data_error`` and ``config_error`` wait for somebody to change something. A full disk is not a failure of any stage: it
stops the sweep.
"""

import errno
import os
import re
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ablations.payload import PayloadError
from ablations.store import STORE_FAULTS
from mm1core.errors import ConfigError, DataError, Diverged, StorageError

FailureClass = Literal["out_of_memory", "diverged", "killed", "node_fault", "code_error", "data_error", "config_error"]

_TAIL_LINES = 40
_NODE_FAULTS = re.compile(
    r"uncorrectable ECC error|no CUDA-capable device|CUDA-capable device\(s\) is/are busy or unavailable"
    r"|GPU is lost|Driver/library version mismatch|hardware stack error"
)
"""What CUDA says if a GPU, or a driver, is broken or in use by somebody else."""
_LOST_PEERS = re.compile(
    r"Connection (closed|reset) by (remote )?peer|Broken pipe|remote process (has )?exited|ncclRemoteError"
    r"|NCCL communicator was aborted"
)
"""What gloo, NCCL and the store where processes meet say in the remaining processes when one is gone."""
_WRITE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_HARDLY_ANY = 1 << 20
"""Bytes; a disk with less free space counts as full."""


def classify(error: BaseException) -> FailureClass:
    """The class of what a stage raised."""
    for one in _chain(error):
        if isinstance(one, Diverged):
            return "diverged"
        if isinstance(one, DataError):
            return "data_error"
        if isinstance(one, ConfigError | PayloadError):
            return "config_error"
        # By name and text: torch is not imported here, and reports a CPU allocation as a plain RuntimeError.
        if isinstance(one, MemoryError) or type(one).__name__ == "OutOfMemoryError":
            return "out_of_memory"
        if isinstance(one, RuntimeError) and _NODE_FAULTS.search(str(one)):
            return "node_fault"
        if isinstance(one, RuntimeError) and re.search(r"can't allocate memory|out of memory", str(one)):
            return "out_of_memory"
    return "code_error"


def lost_peer(error: BaseException) -> bool:
    """Whether this was raised because another process of the same training is gone."""
    return any(isinstance(one, RuntimeError) and _LOST_PEERS.search(str(one)) for one in _chain(error))


_NO_SPACE = ("No space left on device", "Not enough free space")
"""What the system and numpy say about a full disk."""


def disk_fault(error: BaseException, store: Path) -> OSError | None:
    """The operating system's error if the store's disk, not the stage, is to blame."""
    refused = any(isinstance(one, StorageError) for one in _chain(error))
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in STORE_FAULTS:
            inside = one.filename is not None and Path(os.fsdecode(one.filename)).is_relative_to(store)
            if refused or inside or one.errno in _WRITE_FAULTS:
                return one
    # Libraries that write from C++ keep the reason to themselves, or have words of their own for it.
    usage = os.statvfs(store)
    if usage.f_bavail * usage.f_frsize < _HARDLY_ANY or any(words in str(error) for words in _NO_SPACE):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(store))
    return None


def from_exception(error: BaseException, *, attempt: int) -> dict[str, Any]:
    """What ``failure.json`` holds after a stage raised."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return _failure(classify(error), f"{type(error).__name__}: {error}", "\n".join(lines[-_TAIL_LINES:]), attempt)


def without_exception(kind: FailureClass, error: str, *, log: Path, attempt: int) -> dict[str, Any]:
    """What ``failure.json`` holds after a job ended without saying why; the end of its log stands in for a
    traceback."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            tail = file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        tail = []
    return _failure(kind, error, "\n".join(tail), attempt)


def fingerprint(failure: Mapping[str, Any]) -> str:
    """A text that is equal for failures at the same place in the program, whatever values their messages name."""
    places = re.findall(r'File "(.+?)", line (\d+), in (\S+)', str(failure.get("traceback_tail", "")))
    return repr((failure["class"], str(failure.get("error", "")).partition(":")[0], places))


def _failure(kind: FailureClass, error: str, tail: str, attempt: int) -> dict[str, Any]:
    return {
        "class": kind,
        "error": error,
        "traceback_tail": tail,
        "attempt": attempt,
        "host": socket.gethostname(),
        "time": round(time.time(), 3),
    }


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
