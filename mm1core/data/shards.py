"""One file of a source, read from beginning to end: its samples, and what is broken in it.

Every image is decoded in full and every text parsed once here, so that a training run meets no broken sample. Members
of a tar file belong together when their names agree up to the first dot of the base name, as img2dataset and
webdataset write them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mm1core.config import FilesConfig
from mm1core.data.decode import BrokenSample, decode_image, decode_json, decode_text, text_field
from mm1core.data.index import CAPTION_FIELDS, OBJECT, PLAIN, SPLITS, Samples
from mm1core.data.tar import BLOCK, Damage, Member, read_members

_KINDS = {"jpg": "image", "jpeg": "image", "png": "image", "webp": "image", "txt": "text", "json": "json"}
_CHECK_EVERY = 64
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An entry of the quarantine list."""

    member: str
    """The sample or member; for damage between members, the range of bytes."""
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What a file holds."""

    samples: Samples
    broken: list[Broken]
    lost_bytes: int
    """Bytes of damaged stretches: room for samples that cannot be counted."""


def scan(path: Path, files: FilesConfig, *, check: Callable[[], None]) -> Scan:
    """Read ``path`` in the format of ``files``. ``check`` is called every few samples and may raise to stop."""
    return _scan_lines(path, files, check) if files.format == "jsonl" else _scan_tar(path, files, check)


def _scan_tar(path: Path, files: FilesConfig, check: Callable[[], None]) -> Scan:
    listing = _list_samples(path)
    columns = _Columns(files)
    broken: list[Broken] = []
    with path.open("rb") as file:
        for number, (key, members) in enumerate(listing.samples.items()):
            if number % _CHECK_EVERY == 0:
                check()
            try:
                _add_pair(columns, file.fileno(), key, members, files)
            except BrokenSample as error:
                broken.append(Broken(member=key, reason=error.reason, detail=error.detail))
    if listing.unclosed and broken and broken[-1].member == next(reversed(listing.samples)):
        # The last sample is incomplete because the file ends there: that is one fault, not two.
        listing.broken.pop()
        broken[-1] = Broken(member=broken[-1].member, reason="truncated tar", detail=broken[-1].detail)
    return Scan(samples=columns.samples(), broken=broken + listing.broken, lost_bytes=listing.lost_bytes)


@dataclass(kw_only=True)
class _Listing:
    """The members of a tar file by sample and kind, and what is wrong with the file."""

    samples: dict[str, dict[str, Member]] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    lost_bytes: int = 0
    unclosed: bool = False
    """Whether the file ends after a whole member without an end mark; the last of ``broken`` says so."""


def _list_samples(path: Path) -> _Listing:
    listing = _Listing()
    size = path.stat().st_size
    for found in read_members(path):
        if isinstance(found, Damage):
            listing.lost_bytes += found.end - found.start
            listing.broken.append(_damaged(path, found, size))
            listing.unclosed = listing.broken[-1].reason == "truncated tar"
            continue
        key, kind = _sample_and_kind(found.name)
        if kind is None:
            continue
        members = listing.samples.setdefault(key, {})
        if kind in members:
            detail = f"{members[kind].name} comes before it and is used"
            listing.broken.append(Broken(member=found.name, reason="duplicate member", detail=detail))
        else:
            members[kind] = found
    return listing


def _damaged(path: Path, damage: Damage, size: int) -> Broken:
    place = f"bytes {damage.start} to {damage.end} of {size}"
    if damage == Damage(start=0, end=size) and size:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        return Broken(
            member=place,
            reason="not a tar",
            detail="it is compressed, which rules out reading at random; gunzip it" if packed else "no member header",
        )
    if damage.end == size and size - damage.start < BLOCK:
        return Broken(member=place, reason="truncated tar", detail="the end mark is missing")
    return Broken(member=place, reason="damaged tar", detail="no member header")


def _sample_and_kind(name: str) -> tuple[str, str | None]:
    """The key that a member shares with the rest of its sample, and what it holds; ``None`` for what is not used."""
    path = PurePosixPath(name)
    stem, _, suffix = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, _KINDS.get(suffix.lower()) if stem else None


def _add_pair(columns: "_Columns", file: int, key: str, members: dict[str, Member], files: FilesConfig) -> None:
    for member in members.values():
        if not member.whole:
            raise BrokenSample("truncated tar", f"the file ends inside {member.name}")
    image, text = members.get("image"), members.get("text")
    if image is None:
        raise BrokenSample("missing image", f"there is only {', '.join(member.name for member in members.values())}")
    value: dict[str, Any] = {}
    if "json" in members and (text is None or files.group is not None):
        value = decode_json(_read(file, members["json"]))
    if text is not None:
        decode_text(_read(file, text), missing="missing caption")
    elif "json" in members:
        text_field(value, *CAPTION_FIELDS, missing="missing caption")
    else:
        raise BrokenSample("missing caption", "there is neither a txt nor a json member")
    group = _group(value, files, default=key)
    decode_image(_read(file, image), max_pixels=files.max_pixels)
    columns.add(
        key=key,
        group=group,
        image=(image.offset, image.size),
        text=(text.offset, text.size) if text else (members["json"].offset, members["json"].size),
        kind=PLAIN if text else OBJECT,
    )


def _read(file: int, member: Member) -> bytes:
    return os.pread(file, member.size, member.offset)


def _scan_lines(path: Path, files: FilesConfig, check: Callable[[], None]) -> Scan:
    columns = _Columns(files)
    broken: list[Broken] = []
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number % _CHECK_EVERY == 1:
                check()
            if line.strip():
                try:
                    value = decode_json(line)
                    text = text_field(value, "text", missing="missing text")
                    columns.add(
                        key=f"line {number}",
                        # Equal texts share a split, so that none is both held out and trained on.
                        group=_group(value, files, default=text),
                        image=(0, 0),
                        text=(offset, len(line)),
                        kind=OBJECT,
                    )
                except BrokenSample as error:
                    broken.append(Broken(member=f"line {number}", reason=error.reason, detail=error.detail))
            offset += len(line)
    return Scan(samples=columns.samples(), broken=broken, lost_bytes=0)


def _group(value: dict[str, Any], files: FilesConfig, *, default: str) -> str:
    if files.group is None:
        return default
    group = value.get(files.group)
    if not isinstance(group, str | int):
        raise BrokenSample("missing group", f"its JSON has no text or number {files.group!r}, which group asks for")
    return str(group)


class _Columns:
    """Collects samples as columns."""

    def __init__(self, files: FilesConfig) -> None:
        self._held_out = files.held_out
        self._rows: list[tuple[int, int, int, int, int, int, int]] = []
        self._keys: list[bytes] = []

    def add(self, *, key: str, group: str, image: tuple[int, int], text: tuple[int, int], kind: int) -> None:
        place = _hash(group) / 2**64
        split = "test" if place < self._held_out else "validation" if place < 2 * self._held_out else "train"
        self._rows.append((*image, *text, kind, SPLITS.index(split), _hash(key)))
        self._keys.append(key.encode(errors="replace"))

    def samples(self) -> Samples:
        rows = np.array(self._rows, np.uint64).reshape(-1, 7)
        return Samples(
            shard=np.zeros(len(rows), np.int32),
            image_offset=rows[:, 0].astype(np.int64),
            image_size=rows[:, 1].astype(np.int64),
            text_offset=rows[:, 2].astype(np.int64),
            text_size=rows[:, 3].astype(np.int64),
            text_kind=rows[:, 4].astype(np.uint8),
            split=rows[:, 5].astype(np.uint8),
            rank=rows[:, 6],
            keys=np.frombuffer(b"".join(self._keys), np.uint8),
            key_size=np.array([len(key) for key in self._keys], np.int32),
        )


def _hash(text: str) -> int:
    return int.from_bytes(sha256(text.encode(errors="replace")).digest()[:8], "big")
