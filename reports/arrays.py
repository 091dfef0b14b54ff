"""Reads the arrays of an ``.npz`` file. Sweeps have thousands of such files, whose small arrays share a few headers:
each distinct header is parsed once, which makes this three times as fast as ``numpy.load``."""

import io
from functools import lru_cache
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import crc32

import numpy as np
from numpy.lib import format as npy

_LOCAL_HEADER = 30
"""Bytes of a member's own header in a ZIP file."""
_MAGIC = 8
"""Bytes before the header: the magic string and the format version."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name, read-only. Raises ``OSError``, ``BadZipFile`` or ``ValueError`` for a file that is incomplete
    or holds Python objects, which could only be read by running code."""
    whole = path.read_bytes()
    with ZipFile(io.BytesIO(whole)) as archive:
        return {
            member.filename.removesuffix(".npy"): _array(_content(whole, archive, member))
            for member in archive.infolist()
        }


def _content(whole: bytes, archive: ZipFile, member: ZipInfo) -> bytes:
    """A member's bytes. An uncompressed member is sliced out of the file, which gives most of the speed-up."""
    if member.compress_type != ZIP_STORED:
        return archive.read(member)
    start = member.header_offset + _LOCAL_HEADER
    lengths = whole[start - 4 : start]  # of the file name and of the extra field, between the header and the content
    start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    content = whole[start : start + member.file_size]
    if crc32(content) != member.CRC:
        raise BadZipFile(f"{member.filename} is damaged")
    return content


def _array(content: bytes) -> np.ndarray:
    start = _MAGIC + 2 + int.from_bytes(content[_MAGIC : _MAGIC + 2], "little")
    shape, dtype = _header(content[:start])
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


@lru_cache(maxsize=1024)
def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype]:
    stream = io.BytesIO(content)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("not an array in version 1.0 of NumPy's format")
    shape, fortran, dtype = npy.read_array_header_1_0(stream)
    if (fortran and len(shape) > 1) or dtype.hasobject:
        raise ValueError(f"an array of {dtype} that cannot be read directly")
    return shape, dtype
