"""Random draws that are a pure function of a few integers.

A generator of the standard library or of NumPy takes longer to seed than a caption takes to write, and neither promises
the same draws in every version. This is SplitMix64 (Steele, Lea and Flood 2014) seeded by hashing its words.
"""

from collections.abc import Sequence
from typing import TypeVar

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15

T = TypeVar("T")


def _mixed(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


class Draws:
    """A stream of draws named by integers: the same words give the same stream, everywhere and always."""

    __slots__ = ("_state",)

    def __init__(self, *words: int) -> None:
        state = len(words)
        for word in words:
            state = _mixed((state * _GOLDEN + word + 1) & _MASK)
        self._state = state

    def below(self, bound: int) -> int:
        """A whole number from 0 to ``bound - 1``."""
        self._state = mixed = (self._state + _GOLDEN) & _MASK
        # _mixed() inlined: a call would cost as much again, and a caption takes twenty draws
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) * bound) >> 64

    def share(self) -> float:
        """A number from 0 up to, not including, 1."""
        return self.below(1 << 53) / (1 << 53)

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """A copy in random order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order
