"""Short processes that take turns as the one writer of a sweep."""

import multiprocessing
import threading
import time
from pathlib import Path

from ablations.dispatch import hold_sweep
from ablations.store import Store
from ablations.turn import heed_turns, take_turn


def look(root: Path, number: int) -> None:
    """One request: what was there before it was made is seen by some look."""
    folder = Store(root).sweep("drill")
    (folder / f"event-{number}").touch()

    def act(taken_over: threading.Event) -> None:
        there = sorted(path.name for path in folder.glob("event-*"))
        time.sleep(0.05)
        (folder / "seen").write_text("\n".join(there))

    assert take_turn(Store(root), "drill", act)


def test_what_happened_before_a_request_is_seen_whoever_looks(tmp_path):
    store = Store(tmp_path)
    store.sweep("drill").mkdir(parents=True)
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        processes = [context.Process(target=look, args=(tmp_path, 10 * round_ + number)) for number in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            assert process.exitcode == 0
        seen = (store.sweep("drill") / "seen").read_text().splitlines()
        assert len(seen) == 6 * (round_ + 1)
        assert not (store.sweep("drill") / "look-wanted").exists()


def test_a_holder_that_looks_all_the_time_is_relied_upon(tmp_path):
    store = Store(tmp_path)
    store.sweep("drill").mkdir(parents=True)
    acted = []
    with hold_sweep(store, "drill"):
        turn = threading.Thread(
            target=lambda: acted.append(take_turn(store, "drill", lambda taken_over: acted.append(0)))
        )
        turn.start()
        while turn.is_alive():
            heed_turns(store.sweep("drill"))
            time.sleep(0.05)
    assert acted == [True]


def test_a_holder_that_does_not_look_is_left_alone_in_the_end(tmp_path):
    store = Store(tmp_path)
    with hold_sweep(store, "drill"):
        assert not take_turn(store, "drill", lambda taken_over: None, patience=0.0)
