"""How much of this machine jobs may use: its cores and its GPUs, without starting CUDA."""

import os
import re
from pathlib import Path


def cores() -> int:
    """Cores this process may use: its affinity, and the CPU quota of its control group (a container's limit)."""
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return available
    return available if quota == "max" else max(1, min(available, int(quota) // int(period)))


def gpus() -> tuple[str, ...]:
    """GPUs this process may use, named as in ``CUDA_VISIBLE_DEVICES``; where that is set, it has the last word."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() not in ("", "-1", "NoDevFiles"))
    devices = [name for name in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", name)]
    return tuple(str(index) for index in range(len(devices)))
