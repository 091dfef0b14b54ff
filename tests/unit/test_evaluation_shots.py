"""Demonstrations: pure, nested, never the query, and without touching any random state."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm1core.data.document import Answer, Picture, Text
from mm1core.data.task import Item
from mm1core.errors import DataError
from mm1core.evaluation.shots import demonstrations


def picture(number):
    return Picture(pixels=np.full((2, 2, 3), number, np.uint8))


class Shades:
    """Item n shows shade n; candidate c shows shade c and must not be used if it is a multiple of ``unusable``."""

    stop, max_new_tokens, primary, shots = ".", 2, "exact", True

    def __init__(self, pool, unusable=None, name="shades"):
        self.pool, self.unusable, self.name = pool, unusable, name

    def item(self, number):
        return Item(id=f"test/{number}", prompt=(picture(number), Text(text="shade")), references=(str(number),))

    def demonstration(self, item, candidate):
        if self.unusable and candidate % self.unusable == 0:
            return None
        return (picture(candidate), Text(text="shade"), Answer(text=str(candidate)))


def shades(parts):
    return [int(demonstration[0].pixels[0, 0, 0]) for demonstration in parts]


@given(st.integers(0, 5), st.integers(0, 30), st.integers(9, 40), st.integers(0, 8), st.integers(0, 8))
def test_fewer_shots_are_the_first_of_more(seed, number, pool, fewer, more):
    task = Shades(pool)
    fewer, more = sorted((fewer, more))
    long = shades(demonstrations(task, task.item(number), shots=more, seed=seed))
    assert shades(demonstrations(task, task.item(number), shots=fewer, seed=seed)) == long[:fewer]
    assert len(set(long)) == more


@pytest.mark.parametrize("number", range(10))
def test_the_query_is_never_shown_even_if_the_task_lets_it_through(number):
    task = Shades(10)
    chosen = shades(demonstrations(task, task.item(number), shots=9, seed=0))
    assert sorted(chosen) == [shade for shade in range(10) if shade != number]


def test_the_choice_depends_on_seed_task_and_item_and_on_nothing_else():
    task = Shades(200)
    first = shades(demonstrations(task, task.item(1), shots=8, seed=0))
    random.seed(5)
    np.random.seed(5)
    before = (random.getstate(), np.random.get_state()[1].tolist())
    assert shades(demonstrations(Shades(200), task.item(1), shots=8, seed=0)) == first
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    assert shades(demonstrations(task, task.item(1), shots=8, seed=1)) != first
    assert shades(demonstrations(task, task.item(2), shots=8, seed=0)) != first
    assert shades(demonstrations(Shades(200, name="other"), task.item(1), shots=8, seed=0)) != first


def test_the_choice_is_the_one_of_the_first_release():
    # Golden: earlier scores are comparable only while this order holds.
    task = Shades(200)
    assert shades(demonstrations(task, task.item(1), shots=8, seed=0)) == [60, 79, 123, 55, 57, 40, 153, 44]


def test_unusable_candidates_are_skipped_without_moving_the_others():
    free, strict = Shades(200), Shades(200, unusable=3)
    chosen = shades(demonstrations(free, free.item(7), shots=30, seed=0))
    usable = [shade for shade in chosen if shade % 3]
    assert shades(demonstrations(strict, strict.item(7), shots=len(usable), seed=0)) == usable


def test_all_candidates_are_about_equally_likely():
    task = Shades(20)
    counts = Counter(
        shade
        for number in range(100, 250)
        for shade in shades(demonstrations(task, task.item(number), shots=4, seed=0))
    )
    assert sorted(counts) == list(range(20))
    assert max(counts.values()) < 60  # mean 30, standard deviation 5


def test_a_large_pool_is_narrowed_to_the_same_candidates_for_every_item_and_task():
    class Numbers(Shades):
        def demonstration(self, item, candidate):
            return (Text(text=str(candidate)),)

    def used(seed, name="numbers"):
        task = Numbers(1_000_000, name=name)
        items = [task.item(number) for number in range(150)]
        return {parts[0].text for item in items for parts in demonstrations(task, item, shots=30, seed=seed)}

    first = used(seed=0)
    assert 1500 < len(first) <= 2048
    assert len(first | used(seed=0, name="other")) <= 2048
    assert len(first & used(seed=1)) < 100


def test_too_small_a_pool_is_an_error():
    task = Shades(3)
    with pytest.raises(DataError, match="only 2 of 3"):
        demonstrations(task, task.item(0), shots=4, seed=0)
    assert demonstrations(Shades(0), task.item(0), shots=0, seed=0) == ()
