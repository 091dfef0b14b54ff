"""Which code makes the records of a run: commit, changes, package versions, command."""

import shlex
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from ablations.mlflow_access import without_password

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "mm-ablations")
"""What makes a difference to a record."""


def provenance(command: Sequence[str]) -> dict[str, Any]:
    """What all jobs started by ``command`` have in common. Imports none of the packages."""
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {"python": python_version(), **{name: package_version(name) for name in PACKAGES}},
        "command": without_password(shlex.join([Path(command[0]).name, *command[1:]])),
    }


def package_version(package: str) -> str:
    """Of an installed package, without importing it; ``unknown`` where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> tuple[str | None, bool]:
    """The commit of the work tree this package lies in, and whether tracked or new files differ from it.

    Nothing for an installed package: a repository around it would not be its own.
    """
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, False
    commit = _git("rev-parse", "HEAD")
    return commit, commit is not None and _git("status", "--porcelain") != ""


def _git(*arguments: str) -> str | None:
    """What git prints in this package's folder; ``None`` if it refuses or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
