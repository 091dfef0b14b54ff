"""The whole state of a run at a step, in ``step-<step>.ckpt`` files: the newest two are kept.

A checkpoint is written beside its name, brought to the disk and renamed, so a kill leaves the ones before it. Its last
bytes are the CRC-32 of the others. What a damaged disk or a copy changed is renamed to ``*.corrupt``, with a warning,
and the one before it is taken.
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
"""The CRC-32 of anything that is followed by its own CRC-32, the lowest byte first."""
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
    """The state of the newest checkpoint that is whole, on the CPU; ``None`` if there is none.

    ``mapped``: its tensors stay in the file until they are looked at, for those who need a part; the file must last as
    long as they do.
    """
    found = _newest_first(folder)
    for path in found:
        try:
            state = _load(path, mapped=mapped)
        except Exception as error:  # of a damaged file zipfile and torch raise nearly everything
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
    torch.save(state, summed)  # type: ignore[arg-type]  # of a file it uses these two
    file.write(summed.crc.to_bytes(4, "little"))


class _Summed:
    """A file that is written to, and the CRC-32 of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.crc = 0

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _load(path: Path, *, mapped: bool) -> dict[str, Any]:
    """Raises whatever comes of damage. ``torch.load`` itself would take flipped bits for weights."""
    if checksum(path) != _WHOLE:
        raise ValueError("its checksum is wrong")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return state
