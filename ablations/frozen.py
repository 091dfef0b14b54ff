"""The code that jobs on a cluster run: a copy in the store, made when they are submitted.

Editing the program, or checking out another commit, thus changes nothing for a sweep that waits in the queue. Copies
are named by their content: sweeps submitted with the same code share one.
"""

import hashlib
import os
import secrets
import shutil
from pathlib import Path

PACKAGES = ("ablations", "mm1core", "slurm", "reports")
_LEFT_OUT = ("__pycache__",)


def own_code() -> Path:
    """The folder that holds the packages of this process."""
    return Path(__file__).resolve().parents[1]


def freeze_code(store: Path) -> Path:
    """The copy of these packages as they are now, absolute: a folder to put on Python's path. Raises ``OSError``."""
    source, copy = own_code(), frozen_code(store)
    if not copy.exists():
        half = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}")
        for path in _own_files():
            target = half / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        try:
            half.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(half)
            if not copy.exists():
                raise
    return copy


def frozen_code(store: Path) -> Path:
    """Where ``freeze_code`` puts its copy."""
    digest = hashlib.sha256()
    for path in _own_files():
        content = path.read_bytes()
        digest.update(f"{path.relative_to(own_code())} {len(content)}\n".encode() + content)
    return store.absolute() / "code" / digest.hexdigest()[:12]


def _own_files() -> list[Path]:
    return [path for package in PACKAGES for path in _files(own_code() / package)]


def _files(package: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(package):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        found += [Path(folder) / name for name in sorted(names)]
    return found
