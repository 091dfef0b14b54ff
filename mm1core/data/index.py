"""Where each sample of a file source lies: samples are read at random by offset, without parsing a tar file again."""

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from mm1core.data.decode import BrokenSample, decode_image, decode_json, decode_text, text_field
from mm1core.errors import DataError
from mm1core.storage import write_atomically

SPLITS = ("train", "validation", "test")
PLAIN, OBJECT = 0, 1
"""What holds a sample's text: a text member, or a field of a JSON object."""

CAPTION_FIELDS = ("caption", "text")
"""The JSON fields that may hold the text; the first one present counts."""

_OPEN_FILES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Samples as columns of equal length n, in the order of the files."""

    shard: np.ndarray
    """int32: number of the file."""
    image_offset: np.ndarray
    """int64, bytes from the start of the file."""
    image_size: np.ndarray
    """int64, bytes; 0 where the sample has no image."""
    text_offset: np.ndarray
    """int64."""
    text_size: np.ndarray
    """int64."""
    text_kind: np.ndarray
    """uint8: ``PLAIN`` or ``OBJECT``."""
    split: np.ndarray
    """uint8: position in ``SPLITS``."""
    rank: np.ndarray
    """uint64: hash of the sample's key; held-out samples are asked in its order."""
    keys: np.ndarray
    """uint8: all keys in UTF-8, one after another."""
    key_size: np.ndarray
    """int32: bytes of each key."""

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an ``.npz``. Raises ``StorageError`` where that fails."""
    write_atomically(path, lambda file: np.savez_compressed(file, **arrays))  # type: ignore[arg-type]


class Index:
    """An indexed source. Safe in forked and in spawned workers: files are opened where they are read."""

    def __init__(self, folder: Path, source: str) -> None:
        """``folder`` is the work folder of a finished ``corpus`` stage; ``source`` is the name in errors."""
        self._folder = folder
        description = json.loads((folder / "index.json").read_text())
        self.source = source
        self._max_pixels: int = description["max_pixels"]
        self._shards: list[dict[str, Any]] = description["shards"]
        with np.load(folder / "index.npz", allow_pickle=False) as arrays:
            self._samples = Samples(**arrays)
        self._key_ends = np.cumsum(self._samples.key_size, dtype=np.int64)
        self._files: OrderedDict[int, int] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def __del__(self) -> None:
        for descriptor in getattr(self, "_files", {}).values():
            os.close(descriptor)

    def __len__(self) -> int:
        return len(self._samples.shard)

    def numbers(self, split: str) -> np.ndarray:
        """The samples of a split, in the order of the files; ``DataError`` if it has none."""
        found = np.flatnonzero(self._samples.split == SPLITS.index(split))
        if len(found) == 0:
            raise DataError(
                f"{self.source}: none of the {len(self)} samples falls in the {split} split; give more files or change "
                f"data.sources.{self.source}.held_out"
            )
        return found

    def ranked(self, split: str) -> np.ndarray:
        """The samples of a split in a pseudo-random order that never changes."""
        numbers = self.numbers(split)
        return numbers[np.argsort(self._samples.rank[numbers], kind="stable")]

    def key(self, number: int) -> str:
        """The sample's key: the name its members share, or the number of its line."""
        end = int(self._key_ends[number])
        return self._samples.keys[end - int(self._samples.key_size[number]) : end].tobytes().decode()

    def name(self, number: int) -> str:
        """Names the sample in errors, such as ``captions 00000.tar:000123``."""
        shard = Path(self._shards[int(self._samples.shard[number])]["path"]).name
        return f"{self.source} {shard}:{self.key(number)}"

    def text(self, number: int) -> str:
        data = self._read(number, self._samples.text_offset, self._samples.text_size)
        try:
            if self._samples.text_kind[number] == PLAIN:
                return decode_text(data, missing="missing caption")
            return text_field(decode_json(data), *CAPTION_FIELDS, missing="missing caption")
        except BrokenSample as error:
            raise self._changed(number, str(error)) from error

    def image(self, number: int) -> np.ndarray:
        """(height, width, 3) uint8."""
        data = self._read(number, self._samples.image_offset, self._samples.image_size)
        try:
            return decode_image(data, max_pixels=self._max_pixels)
        except BrokenSample as error:
            raise self._changed(number, str(error)) from error

    def _read(self, number: int, offsets: np.ndarray, sizes: np.ndarray) -> bytes:
        size = int(sizes[number])
        data = os.pread(self._file(int(self._samples.shard[number])), size, int(offsets[number]))
        if len(data) != size:
            raise self._changed(number, f"{len(data)} bytes instead of {size}")
        return data

    def _file(self, shard: int) -> int:
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        path, size = self._shards[shard]["path"], self._shards[shard]["size"]
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DataError(
                f"{self.source}: {path} was indexed and cannot be read now ({error.strerror}); put it back, or remove "
                f"{self._folder.parent} to index the source where it is now"
            ) from error
        self._files[shard] = descriptor
        if len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        found = os.fstat(descriptor).st_size
        if found != size:
            raise DataError(
                f"{self.source}: {path} has {found} bytes, {size} when it was indexed; put the indexed file back"
            )
        return descriptor

    def _changed(self, number: int, problem: str) -> DataError:
        return DataError(f"{self.name(number)} was intact when it was indexed but is not now: {problem}")


def concatenate(parts: Sequence[Samples]) -> Samples:
    """The samples of several files; their ``shard`` columns are numbered by position in ``parts``."""
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Samples)}
    columns["shard"] = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.shard) for part in parts])
    return Samples(**columns)
