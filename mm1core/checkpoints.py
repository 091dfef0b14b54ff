"""The complete state of a run at a step, in ``step-<step>.ckpt`` files: the newest two are kept.

A checkpoint is written to a temporary file, flushed to disk and renamed, so a kill leaves the earlier ones intact. Its
last four bytes are the CRC-32 of the others. One that a damaged disk or a copy has changed is renamed to ``*.corrupt``,
with a warning, and the one before it is used.
"""

import logging
import os
import re
import zlib
from pathlib import Path
from typing import IO, Any

import torch

from mm1core.storage import checksum, refusals, write_atomically

logger = logging.getLogger(__name__)

_KEPT = 2
_WHOLE = 0x2144DF1C
"""The CRC-32 of any data followed by its own CRC-32, lowest byte first."""
_NAME = re.compile(r"step-(\d+)\.ckpt")


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write ``state`` (tensors and plain values) for ``step``, then drop all but the newest two.

    Raises ``StorageError`` where that fails.
    """
    path = folder / f"step-{step:08d}.ckpt"
    write_atomically(path, lambda file: _write(file, state))
    for old in _newest_first(folder)[_KEPT:]:
        with refusals(old):
            old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path, *, mapped: bool = False) -> dict[str, Any] | None:
    """The state of the newest undamaged checkpoint, on the CPU; ``None`` if there is none.

    ``mapped``: its tensors stay in the file until they are accessed, for callers that need only a part; the file must
    exist as long as they do.
    """
    found = _newest_first(folder)
    for path in found:
        try:
            state = _load(path, mapped=mapped)
        except Exception as error:  # on a damaged file zipfile and torch raise nearly any exception
            logger.warning("%s cannot be read (%s); it is set aside", path, error)
            with refusals(path):
                os.replace(path, path.with_name(path.name + ".corrupt"))
        else:
            logger.info("%s is taken up", path)
            return state
    if found:
        logger.warning("%s has no whole state left; the training starts again", folder)
    return None


def _newest_first(folder: Path) -> list[Path]:
    found = [(match, path) for path in folder.glob("step-*.ckpt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, key=lambda pair: int(pair[0].group(1)), reverse=True)]


def _write(file: IO[bytes], state: dict[str, Any]) -> None:
    summed = _Summed(file)
    torch.save(state, summed)  # type: ignore[arg-type]  # it uses only these two methods
    file.write(summed.crc.to_bytes(4, "little"))


class _Summed:
    """A file open for writing, and the CRC-32 of what has been written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _load(path: Path, *, mapped: bool) -> dict[str, Any]:
    """Any exception means that the file is damaged. ``torch.load`` itself would accept flipped bits as weights."""
    if checksum(path) != _WHOLE:
        raise ValueError("its checksum is wrong")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return state
