"""Large pages for a process that is about to fork often: its page tables, which every child copies and tears down,
shrink by a factor of hundreds. Forking half a gigabyte of imported libraries takes a third of the time.

Needs Linux 6.1 with transparent huge pages not forbidden; elsewhere nothing happens.
"""

import ctypes
from pathlib import Path

_MADV_COLLAPSE = 25
_SIZE = 1 << 21
_libc = ctypes.CDLL(None, use_errno=True)


def collapse() -> None:
    """Put the private memory of this process into huge pages, now. Copies it once; no content changes."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _, _, _, *name = line.split()
        if access.startswith("rw-p") and name in ([], ["[heap]"]):
            first, last = (int(address, 16) for address in addresses.split("-"))
            first, last = -(-first // _SIZE) * _SIZE, last // _SIZE * _SIZE
            if first < last:  # a refusal costs only speed
                _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _MADV_COLLAPSE)
