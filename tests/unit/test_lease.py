"""One holder at a time: the living are respected, the dead replaced, and who was replaced learns of it."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ablations.lease import LeaseHeld, LeaseLost, acquire, holder


def only_lease(folder: Path) -> Path:
    (path,) = folder.glob("lease-*")
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Pretend that somebody else wrote the lease; the time of the last beat stays."""
    beat = path.stat().st_mtime
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    os.utime(path, (beat, beat))


def test_a_held_folder_is_refused_and_a_released_one_is_free(tmp_path):
    lease = acquire(tmp_path)
    with pytest.raises(LeaseHeld) as refusal:
        acquire(tmp_path)
    assert refusal.value.owner is not None
    assert refusal.value.owner.pid == os.getpid()
    lease.release()
    assert holder(tmp_path) is None
    acquire(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_the_holder_can_be_asked_for(tmp_path):
    assert holder(tmp_path) is None
    assert holder(tmp_path / "absent") is None
    lease = acquire(tmp_path)
    owner = holder(tmp_path)
    assert owner is not None
    assert owner.pid == os.getpid()
    lease.release()


def test_a_process_that_is_gone_is_replaced_at_once(tmp_path):
    program = f"""
import os
from pathlib import Path
from ablations.lease import acquire
acquire(Path({str(tmp_path)!r}))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert only_lease(tmp_path).stat().st_mtime > time.time() - 30
    acquire(tmp_path).release()


def test_another_process_with_the_same_number_is_not_the_holder(tmp_path):
    lease = acquire(tmp_path)
    rewrite(only_lease(tmp_path), started="1")
    assert holder(tmp_path) is None
    acquire(tmp_path).release()
    lease.release()


def test_a_living_process_here_holds_however_long_it_does_not_beat(tmp_path):
    lease = acquire(tmp_path)
    os.utime(only_lease(tmp_path), (1.0, 1.0))
    with pytest.raises(LeaseHeld):
        acquire(tmp_path)
    lease.release()


def test_a_holder_elsewhere_counts_until_three_beats_are_missed(tmp_path):
    lease = acquire(tmp_path, beat=10.0)
    path = only_lease(tmp_path)
    rewrite(path, machine="elsewhere", host="elsewhere")
    now = time.time()
    os.utime(path, (now - 25, now - 25))
    with pytest.raises(LeaseHeld) as refusal:
        acquire(tmp_path)
    assert "elsewhere" in str(refusal.value)
    os.utime(path, (now - 35, now - 35))
    assert holder(tmp_path) is None
    acquire(tmp_path).release()
    lease.release()


def test_a_lease_that_was_never_filled_in_is_respected_for_three_beats(tmp_path):
    (tmp_path / "lease-1").touch()
    with pytest.raises(LeaseHeld):
        acquire(tmp_path)
    os.utime(tmp_path / "lease-1", (1.0, 1.0))
    acquire(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_beats(tmp_path):
    lease = acquire(tmp_path, beat=0.02)
    path = only_lease(tmp_path)
    os.utime(path, (1.0, 1.0))
    end = time.monotonic() + 10
    while path.stat().st_mtime == 1.0:
        assert time.monotonic() < end
        time.sleep(0.01)
    lease.release()


def test_who_was_replaced_learns_of_it_and_does_not_remove_the_new_lease(tmp_path):
    lost = threading.Event()
    old = acquire(tmp_path, beat=0.02, on_lost=lost.set)
    old.confirm()
    rewrite(only_lease(tmp_path), started="1")  # the process is taken for dead
    new = acquire(tmp_path)
    assert lost.wait(10)
    with pytest.raises(LeaseLost):
        old.confirm()
    old.release()
    new.confirm()
    with pytest.raises(LeaseHeld):
        acquire(tmp_path)
    new.release()


def contend(folder: Path, barrier, results) -> None:  # type: ignore[no-untyped-def]
    barrier.wait()
    try:
        acquire(folder)
        results.put("held")
    except LeaseHeld:
        results.put("refused")
    barrier.wait()  # nobody dies before all have tried


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_contenders_at_most_one_wins(tmp_path, stale):
    context = multiprocessing.get_context("fork")
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        if stale:
            (folder / "lease-3").touch()
            os.utime(folder / "lease-3", (1.0, 1.0))
        barrier, results = context.Barrier(4), context.Queue()
        processes = [context.Process(target=contend, args=(folder, barrier, results)) for _ in range(4)]
        for process in processes:
            process.start()
        outcomes = [results.get(timeout=30) for _ in processes]
        for process in processes:
            process.join()
        assert outcomes.count("held") <= 1
