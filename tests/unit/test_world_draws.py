"""Draws: the published generator, even, and a stream of its own for every name."""

from collections import Counter
from itertools import permutations, product

import pytest
from scipy.stats import chisquare

from mm1core.world.draws import Draws


def test_the_generator_is_splitmix64():
    draws = Draws()
    draws._state = 1234567
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]  # the published test vector
    assert [draws.below(2**64) for _ in range(3)] == expected


def test_equal_words_give_equal_streams_and_other_words_other_streams():
    names = [(), (0,), (0, 0), (-1,), *product(range(12), repeat=3)]
    firsts = {name: Draws(*name).below(2**64) for name in names}
    assert all(Draws(*name).below(2**64) == first for name, first in firsts.items())
    assert len(set(firsts.values())) == len(names)


@pytest.mark.parametrize("bound", [2, 3, 6, 10])
def test_numbers_are_even_within_a_stream_and_over_neighbouring_streams(bound):
    draws = Draws(7)
    within = Counter(draws.below(bound) for _ in range(12_000))
    over = Counter(Draws(7, row).below(bound) for row in range(12_000))
    for counts in (within, over):
        assert set(counts) == set(range(bound))
        assert chisquare(list(counts.values())).pvalue > 1e-4


def test_every_order_is_as_likely():
    draws = Draws(5)
    counts = Counter(tuple(draws.shuffled("abcd")) for _ in range(12_000))
    assert set(counts) == set(permutations("abcd"))
    assert chisquare(list(counts.values())).pvalue > 1e-4


def test_shuffling_leaves_the_original_alone():
    items = [1, 2, 3]
    Draws(1).shuffled(items)
    assert items == [1, 2, 3]


def test_shares_fill_the_half_open_interval():
    draws = Draws(2)
    shares = [draws.share() for _ in range(4000)]
    assert min(shares) >= 0
    assert max(shares) < 1
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.02)
