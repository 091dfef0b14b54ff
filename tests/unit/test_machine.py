"""How many cores and GPUs jobs may use."""

import os

import pytest

from slurm.machine import cores, gpus


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", ()), ("-1", ()), ("0", ("0",)), ("2,5", ("2", "5")), (" GPU-abc , GPU-def ", ("GPU-abc", "GPU-def"))],
)
def test_the_environment_has_the_last_word_on_gpus(monkeypatch, visible, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == expected


def test_cores_are_those_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= cores() <= len(before)
