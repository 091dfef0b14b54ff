"""The points of a search's axes: which there are, drawing from them, and whether any of them is an arm. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import floor, prod
from typing import Any

from ablations.arms import Arm
from ablations.design import draw_number, suggested_arm
from ablations.errors import SweepError
from ablations.stages import Chains
from ablations.sweep import Axis, Range, Sweep

Point = Mapping[str, Any]
"""Axis name to the label of one of its values, or to a number where the axis is a range."""

DRAWS = 4096
"""Most points that are tried to find one that is an arm."""
_SAMPLE = 64
"""Points that are tried in any case."""


def some_arms(sweep: Sweep, chains: Chains) -> tuple[Arm, ...]:
    """Arms of a search that any sampler may propose: what can be known of a search before it runs.

    If there are none, raises ``SweepError`` with the first thing that is wrong.
    """
    found: list[Arm] = []
    wrong: SweepError | None = None
    for looked, point in enumerate(points(sweep.axes, random.Random(0), DRAWS)):
        if found and looked >= _SAMPLE:
            break
        try:
            arm = suggested_arm(sweep, point, chains)
        except SweepError as error:
            wrong = wrong or error
            continue
        if arm is not None:
            found.append(arm)
    if not found:
        raise wrong or SweepError(sweep.document.problem(("constraints",), "leave no arm"))
    return tuple(found)


def points(axes: Sequence[Axis], source: random.Random, most: int) -> Iterator[Point]:
    """Points in random order: each once if there are no more than ``most``, else ``most`` draws."""
    columns = [_column(axis, most) for axis in axes]
    if prod(map(len, columns)) <= most and all(columns):
        every = list(product(*columns))
        source.shuffle(every)
        for values in every:
            yield {axis.name: value for axis, value in zip(axes, values, strict=True)}
    else:
        for _ in range(most):
            yield {axis.name: _draw(axis, source) for axis in axes}


def highest(span: Range) -> float:
    """The last number of a range: below its high end if that is not a whole number of steps from the low end."""
    if span.step is None:
        return span.high
    return short(span.low + floor((span.high - span.low) / span.step + 1e-9) * span.step, span)


def short(number: float, span: Range) -> float:
    """The number, within its range, with enough digits to tell it from others and few enough to read."""
    if span.integer:
        return int(number)
    return min(max(float(f"{number:.6g}"), span.low), span.high)


def _column(axis: Axis, most: int) -> Sequence[Any]:
    """The values of an axis; none if they are a continuum, or more than ``most``."""
    span = axis.range
    if span is None:
        return [value.label for value in axis.values]
    step = 1 if span.step is None and span.integer else span.step
    if step is None:
        return []
    count = floor((span.high - span.low) / step + 1e-9) + 1
    return [short(span.low + index * step, span) for index in range(count)] if count <= most else []


def _draw(axis: Axis, source: random.Random) -> Any:
    if axis.range is None:
        return source.choice(axis.values).label
    return draw_number(axis.range, source.random())
