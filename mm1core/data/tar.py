"""The members of a tar file and where they lie, found even when the file is damaged.

``tarfile`` silently takes damage in the middle of a file for its end, and cannot continue after some kinds of it. Here
a damaged stretch is reported and reading goes on at the next intact header. Knows ustar, pax and GNU long names, which
is what tar, tarfile and the webdataset writers produce; sparse members are skipped.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
_ZEROS = bytes(BLOCK)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_NAMING = (tarfile.GNUTYPE_LONGNAME, *_PAX)
_WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=\n]+)=")
_SIZE = re.compile("[0-9]{1,20}")
"""Twenty digits are more than the size of any file; Python refuses to parse a number of thousands of digits."""
_LONGEST_NAME = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file in the archive; its data are ``size`` bytes from ``offset``."""

    name: str
    offset: int
    size: int
    whole: bool
    """False if the file ends before the member does."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A stretch of the file that holds no member; less than a block at the end where the end mark is missing."""

    start: int
    end: int


def read_members(path: Path) -> Iterator[Member | Damage]:
    """Members and damage in the order of the file. An empty archive that is properly closed yields nothing."""
    size = path.stat().st_size
    with path.open("rb") as file:
        descriptor = file.fileno()
        position, damaged_from, closed = 0, None, False
        name: str | None = None
        long_size: int | None = None
        while position + BLOCK <= size:
            block = os.pread(descriptor, BLOCK, position)
            closed = block == _ZEROS
            header = None if closed else _header(block)
            if header is None:
                if damaged_from is None and not closed:
                    damaged_from = position
                name = long_size = None
                position += BLOCK
                continue
            if damaged_from is not None:
                yield Damage(start=damaged_from, end=position)
                damaged_from = None
            data = position + BLOCK
            length = header.size if long_size is None else long_size
            if header.type in _REGULAR:
                yield Member(name=name or header.name, offset=data, size=length, whole=data + length <= size)
            position = data + (0 if header.type in _WITHOUT_DATA else -(-length // BLOCK) * BLOCK)
            if header.type in _NAMING:
                content = os.pread(descriptor, min(length, _LONGEST_NAME), data)
                if header.type in _PAX:
                    fields = _pax_fields(content)
                    if fields is None:
                        damaged_from, name, long_size = data - BLOCK, None, None
                        continue
                    name = fields.get("path", name)
                    long_size = int(fields["size"]) if "size" in fields else None
                else:
                    name = content.rstrip(b"\0").decode(errors="replace")
            elif header.type != tarfile.XGLTYPE:
                name = long_size = None
        if damaged_from is not None or position < size:
            yield Damage(start=position if damaged_from is None else damaged_from, end=size)
        elif not closed:
            yield Damage(start=size, end=size)


def _header(block: bytes) -> tarfile.TarInfo | None:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError):
        return None
    return header if header.size >= 0 else None


def _pax_fields(content: bytes) -> dict[str, str] | None:
    """The ``length key=value`` records of a pax header; ``None`` where they are damaged."""
    fields, position = {}, 0
    while position < len(content) and content[position]:  # some writers pad with zeros
        match = _PAX_RECORD.match(content, position)
        end = position + int(match.group(1)) if match else 0
        if match is None or not match.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            return None
        fields[match.group(2).decode(errors="replace")] = content[match.end() : end - 1].decode(errors="replace")
        position = end
    return fields if _SIZE.fullmatch(fields.get("size", "0")) else None
