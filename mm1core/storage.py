"""Files written whole or not at all, and a checksum that shows whether they are still what was written."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mm1core.errors import StorageError

_CHUNK = 1 << 20


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """``write`` fills a file beside ``path`` that is flushed to disk before it takes the name; folders are created.

    A reader sees either the old file or the new one. Raises ``StorageError`` where the system refuses.
    """
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".tmp")
        try:
            with draft.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name must survive a power cut as the content does
        finally:
            os.close(folder)


def checksum(path: Path) -> int:
    """CRC-32 of a file's content: it detects damage at the speed of reading. Raises ``OSError``."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into one ``StorageError``."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        refusal = error if isinstance(error, OSError) else error.__context__  # torch.save wraps what a file raises
        if isinstance(error, StorageError) or not isinstance(refusal, OSError):
            raise
        raise StorageError(
            f"{path}: cannot be written: {refusal.strerror or refusal}; "
            "free space or make the folder writable, then run again: finished work is kept"
        ) from error
