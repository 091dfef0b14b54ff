"""Which code makes the records of a run: commit, changes, command; and what each record's process knows about itself.

Changes are kept beside the frozen code in the store: ``code/<digest>.diff``, to be applied to the commit.
"""

import hashlib
import os
import secrets
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from ablations import frozen
from ablations.mlflow_access import without_password

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "safetensors", "numpy", "pillow", "mm-ablations")
"""Packages whose versions make a difference to a record."""


def provenance(command: Sequence[str], *, store: Path) -> dict[str, Any]:
    """What all jobs started by ``command`` have in common. Writes the changes into ``store``; raises ``OSError``."""
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "diff": _keep(_changes(), store) if dirty else None,
        "command": without_password(shlex.join([Path(command[0]).name, *command[1:]])),
    }


def of_this_process() -> dict[str, Any]:
    """Versions of what this process runs with, and its SLURM job if it is in one. Imports none of the packages."""
    versions = {"python": python_version(), **{name: package_version(name) for name in PACKAGES}}
    return {"versions": versions, **_slurm_job(os.environ)}


def package_version(package: str) -> str:
    """The version of an installed package, without importing it; ``unknown`` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _slurm_job(environment: Mapping[str, str]) -> dict[str, Any]:
    """The job's id as ``sacct`` takes it, and how often SLURM had queued it again."""
    if (number := environment.get("SLURM_JOB_ID")) is None:
        return {}
    array, index = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    restarts = int(environment.get("SLURM_RESTART_COUNT", "0"))
    return {"slurm_job": f"{array}_{index}" if array else number, "slurm_restarts": restarts}


def _commit() -> tuple[str | None, bool]:
    """The commit of the work tree this package lies in, and whether tracked or new files differ from it.

    Nothing for an installed package: a repository around it would not be its own.
    """
    if not _git("ls-files", "--error-unmatch", __file__):
        return None, False
    commit = _git("rev-parse", "HEAD").decode().strip() or None
    return commit, commit is not None and _git("status", "--porcelain") != b""


def _changes() -> bytes:
    """A patch: what differs from the commit, and new files of the packages, which git does not know yet."""
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *frozen.PACKAGES).split(b"\0")
    added = [
        _git("diff", "--no-ext-diff", "--binary", "--no-index", "/dev/null", os.fsdecode(name)) for name in new if name
    ]
    return b"".join([_git("diff", "--no-ext-diff", "--binary", "HEAD"), *added])


def _keep(changes: bytes, store: Path) -> str | None:
    """Keep the changes in a file, and return the digest that names it; ``None`` if no code was changed."""
    if not changes:
        return None
    digest = hashlib.sha256(changes).hexdigest()[:12]
    file = store / "code" / f"{digest}.diff"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        half = file.with_name(f"{digest}.{secrets.token_hex(4)}")
        half.write_bytes(changes)
        half.rename(file)
    return digest


def _git(*arguments: str) -> bytes:
    """What git prints in the folder of the packages; nothing if it refuses or is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(frozen.own_code()), *arguments], capture_output=True)
    except OSError:
        return b""
    return done.stdout
