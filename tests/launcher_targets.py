"""What the launchers' tests run as jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def succeed(payload: dict[str, Any]) -> None:
    print("hello", payload.get("text", ""))


def exit_with(payload: dict[str, Any]) -> int:
    return payload["code"]


def fail(payload: dict[str, Any]) -> None:
    raise RuntimeError("wrong on purpose")


def sleep(payload: dict[str, Any]) -> None:
    time.sleep(payload["seconds"])


def sleep_politely(payload: dict[str, Any]) -> int:
    """Ends with 75 when asked to stop; makes the file ``ready`` once it can be asked."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    if "ready" in payload:
        Path(payload["ready"]).touch()
    time.sleep(payload["seconds"])
    return 0


def die(payload: dict[str, Any]) -> None:
    os.kill(os.getpid(), payload["signal"])
    time.sleep(10)


def fill_memory(payload: dict[str, Any]) -> None:
    """With so many bytes, and hold them for some time."""
    held = b"x" * payload["bytes"]
    time.sleep(30 + 0 * len(held))


def describe(payload: dict[str, Any]) -> None:
    """Write what the process looks like from inside to the file ``to``."""
    seen = {
        "environment": dict(os.environ),
        "modules": sorted(sys.modules),
        "threads": len(os.listdir("/proc/self/task")),
        "stdin": sys.stdin.read(),
        "parent": os.getppid(),
    }
    Path(payload["to"]).write_text(json.dumps(seen))


def leave_a_child_behind(payload: dict[str, Any]) -> None:
    child = subprocess.Popen(["sleep", "60"])
    Path(payload["to"]).write_text(str(child.pid))
