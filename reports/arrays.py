"""Reads the arrays of an ``.npz`` file. Sweeps have thousands of them, whose arrays are small and have the same few
headers: each header is parsed once, which makes it three times as fast as ``numpy.load``."""

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
"""Bytes before the header: a mark and the version of the format."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """By name, read-only. Raises ``OSError``, ``BadZipFile``, ``ValueError`` for a file that is not whole or holds
    objects, which only running code could read."""
    whole = path.read_bytes()
    with ZipFile(io.BytesIO(whole)) as archive:
        return {
            member.filename.removesuffix(".npy"): _array(_content(whole, archive, member))
            for member in archive.infolist()
        }


def _content(whole: bytes, archive: ZipFile, member: ZipInfo) -> bytes:
    """A member's bytes. Those of one that is stored as it is are cut out, which is most of what there is to gain."""
    if member.compress_type != ZIP_STORED:
        return archive.read(member)
    start = member.header_offset + _LOCAL_HEADER
    lengths = whole[start - 4 : start]  # of the name and of what else stands between the header and the content
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
