"""What a training uses of its machine, for the curves beside the loss. Not part of any result."""

import resource
import sys
import time

import torch

_GIB = 2.0**30
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in the unit that ``getrusage`` counts in."""


class Load:
    """The load of this process since the last reading."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self, device: torch.device) -> dict[str, float]:
        """``cpu_percent`` (100 is one core), ``memory_gib`` (the most so far), on a GPU ``gpu_memory_gib`` (of
        tensors, the most so far)."""
        seconds = max(time.perf_counter() - self._wall, 1e-9)
        found = {
            "cpu_percent": 100 * (time.process_time() - self._cpu) / seconds,
            "memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / _GIB,
        }
        if device.type == "cuda":
            found["gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / _GIB
        self.restart()
        return found
