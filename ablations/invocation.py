"""The command as a user would type it again, for hints that can be copied."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def command(*arguments: str, store: Path | None = None, tracking_uri: str | None = None) -> str:
    """``ablate`` with these arguments, and the options that lead to the same store and the same MLflow.

    An option that has its default, or that the environment gives, is left out.
    """
    words = [*_program(), *arguments]
    if store is not None and str(store) != os.environ.get("ABLATE_STORE", "store"):
        words += ["--store", str(store)]
    if tracking_uri and tracking_uri != os.environ.get("MLFLOW_TRACKING_URI"):
        words += ["--tracking-uri", tracking_uri]
    return shlex.join(words)


def _program() -> list[str]:
    """How this process was started: by name where the shell finds it, by path where it does not."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return ["python", "-m", "ablations"]
    if started.name == "-c":  # called from another program
        return ["ablate"]
    found = shutil.which(started.name)
    if not started.exists() or (found is not None and os.path.samefile(found, started)):
        return [started.name]
    return [str(started)]
