"""The whole state of a run at a step, in ``step-<step>.ckpt`` files: the newest two are kept.

A checkpoint is written beside its name, brought to the disk and renamed, so a kill leaves the ones before it. What a
damaged disk or a copy left unreadable is renamed to ``*.corrupt``, with a warning, and the one before it is taken.
"""

import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from mm1core.storage import refusals, write_atomically

logger = logging.getLogger(__name__)

_KEPT = 2
_NAME = re.compile(r"step-(\d+)\.ckpt")


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` (tensors and plain values) for ``step``, then drop all but the newest two.

    Raises ``StorageError`` where that fails.
    """
    path = folder / f"step-{step:08d}.ckpt"
    write_atomically(path, lambda file: torch.save(state, file))
    for old in _newest_first(folder)[_KEPT:]:
        with refusals(old):
            old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole, on the CPU; ``None`` if there is none."""
    for path in _newest_first(folder):
        problem = _damage(path)
        if problem is None:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            logger.info("%s is taken up", path)
            return state
        logger.warning("%s cannot be read (%s); it is set aside and an older state is used", path, problem)
        with refusals(path):
            os.replace(path, path.with_name(path.name + ".corrupt"))
    return None


def _newest_first(folder: Path) -> list[Path]:
    found = [(match, path) for path in folder.glob("step-*.ckpt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0].group(1)), reverse=True)]


def _damage(path: Path) -> str | None:
    """What is wrong with the file, if anything. ``torch.load`` itself would take flipped bits for weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error)
    return None if broken is None else f"{broken} fails its checksum"
