"""Calls the function a job names."""

import importlib
from typing import Any

from slurm.launcher import EXIT_ERROR, EXIT_OK


def call(target: str, payload: dict[str, Any]) -> int:
    """Call the function and return its exit code. Raises whatever it raises, except ``SystemExit``."""
    module, _, function = target.partition(":")
    try:
        code = getattr(importlib.import_module(module), function)(payload)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) or stop.code is None else EXIT_ERROR
    return EXIT_OK if code is None else int(code)
