"""The points of a search's axes: which there are, and drawing from them. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import floor, prod
from typing import Any

from ablations.design import draw_number
from ablations.sweep import Axis, Range

Point = Mapping[str, Any]
"""Axis name to the label of one of its values, or to a number where the axis is a range."""


def points(axes: Sequence[Axis], source: random.Random, most: int) -> Iterator[Point]:
    """Points in random order: each once if there are no more than ``most``, else as many draws."""
    columns = [_column(axis) for axis in axes]
    if prod(map(len, columns)) <= most and all(columns):
        every = list(product(*columns))
        source.shuffle(every)
        for values in every:
            yield {axis.name: value for axis, value in zip(axes, values, strict=True)}
    else:
        for _ in range(most):
            yield {axis.name: _draw(axis, source) for axis in axes}


def highest(span: Range) -> float:
    """The last number of a range: below its high end where that is no whole number of steps away."""
    if span.step is None:
        return span.high
    return short(span.low + floor((span.high - span.low) / span.step + 1e-9) * span.step, span)


def short(number: float, span: Range) -> float:
    """The number with digits enough to tell it from others and few enough to read, within its range."""
    if span.integer:
        return int(number)
    return min(max(float(f"{number:.6g}"), span.low), span.high)


def _column(axis: Axis) -> Sequence[Any]:
    """The values of an axis; none if they are a continuum."""
    span = axis.range
    if span is None:
        return [value.label for value in axis.values]
    if span.integer:
        return range(int(span.low), int(highest(span)) + 1, int(span.step or 1))
    if span.step is None:
        return []
    count = floor((span.high - span.low) / span.step + 1e-9) + 1
    return [short(span.low + index * span.step, span) for index in range(count)]


def _draw(axis: Axis, source: random.Random) -> Any:
    if axis.range is None:
        return source.choice(axis.values).label
    return draw_number(axis.range, source.random())
