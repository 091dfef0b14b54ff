"""What went wrong is put in the right class, since the class decides what happens next."""

import errno
import os

import pytest

from ablations.failures import classify, disk_fault, fingerprint, from_exception
from mm1core.errors import ConfigError, DataError, Diverged, StorageError


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "node_fault"),
        (RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "node_fault"),
        (RuntimeError("CUDA error: device-side assert triggered"), "code_error"),
        (Diverged("loss is nan at step 3"), "diverged"),
        (DataError("no items"), "data_error"),
        (ConfigError("image.resolution", "odd"), "config_error"),
        (RuntimeError("shapes do not match"), "code_error"),
        (KeyError("x"), "code_error"),
        (SystemExit(3), "code_error"),
    ],
)
def test_classes(error, kind):
    assert classify(error) == kind


def test_a_wrapped_error_keeps_its_class():
    outer = RuntimeError("training failed")
    outer.__cause__ = Diverged("nan")
    assert classify(outer) == "diverged"


def test_only_the_stores_disk_is_blamed(tmp_path):
    inside, outside = str(tmp_path / "work" / "x"), "/somewhere/else/shard.tar"
    assert disk_fault(OSError(errno.ENOSPC, "full", outside), tmp_path)
    assert disk_fault(PermissionError(errno.EACCES, "denied", inside), tmp_path)
    assert disk_fault(PermissionError(errno.EACCES, "denied", outside), tmp_path) is None
    assert disk_fault(FileNotFoundError(errno.ENOENT, "none", inside), tmp_path) is None
    assert disk_fault(RuntimeError("I/O error: No space left on device (os error 28)"), tmp_path)
    assert disk_fault(RuntimeError("shapes do not match"), tmp_path) is None
    assert disk_fault(StorageError("x: cannot be written: Not enough free space to write 82944000 bytes"), tmp_path)


def failure_of(value: int, *, elsewhere: bool = False) -> dict:  # type: ignore[type-arg]
    try:
        if elsewhere:
            raise ValueError(f"bad {value}")
        raise ValueError(f"bad {value}")
    except ValueError as error:
        return from_exception(error, attempt=value)


def test_equal_places_have_equal_fingerprints_whatever_the_value():
    assert fingerprint(failure_of(1)) == fingerprint(failure_of(2))
    assert fingerprint(failure_of(1)) != fingerprint(failure_of(1, elsewhere=True))


def test_a_failure_keeps_the_end_of_the_traceback():
    failure = failure_of(5)
    assert failure["error"] == "ValueError: bad 5"
    assert failure["attempt"] == 5
    assert failure["traceback_tail"].splitlines()[-1] == "ValueError: bad 5"
    assert os.path.basename(__file__) in failure["traceback_tail"]
