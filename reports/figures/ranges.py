"""Ranges and ticks of value axes, chosen from the data by the conventions of the paper's figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

_LEAST_TICKS = 3


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """A stretch of a value axis and where its ticks are, in shown units."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def full_range(intervals: Sequence[tuple[float, float]], *, percent: bool, headroom: float = 0.15) -> ValueRange:
    """Fig. 5: ticks every 20 (percent); the range ends on ticks, with ``headroom`` of it free for labels and legend.

    There is no tick above 100 %, though the range may go on beyond it.
    """
    step = 20.0 if percent else _nice(max(high for _, high in intervals) / 4)
    return _range(intervals, unit=step, step=step, below=0.1 * step, headroom=headroom, percent=percent)


def broken_range(
    intervals: Sequence[tuple[float, float]], *, percent: bool, headroom: float = 0.14, gap: float = 0.35
) -> tuple[ValueRange, ...]:
    """Fig. 4: one stretch, or two where the data leave more than ``gap`` of their whole spread empty in one place.

    ``intervals`` are what must be seen, such as (lower, upper) ends of error bars. Stretches end on multiples of 5
    (percent) and have the same step between ticks.
    """
    ordered = sorted(intervals)
    reach = ordered[0][1]
    spread = max(high for _, high in ordered) - ordered[0][0]
    splits = []
    for index, (low, high) in enumerate(ordered[1:], start=1):
        splits.append((low - reach, index))
        reach = max(reach, high)
    widest, index = max(splits, default=(0.0, 0))
    if spread > 0 and widest > gap * spread:
        groups = [ordered[:index], ordered[index:]]
    else:
        groups = [ordered]
        headroom /= 2  # the whole height is one stretch
    unit = 5.0 if percent else _nice(max(high for _, high in ordered) / 10)
    rough = [
        _range(group, unit=unit, step=unit, below=0.4 * unit, headroom=headroom, percent=percent) for group in groups
    ]
    step = _nice(max(part.high - part.low for part in rough) / 8)
    return tuple(
        _range(group, unit=unit, step=step, below=0.4 * unit, headroom=headroom, percent=percent) for group in groups
    )


def decades(values: Sequence[float]) -> ValueRange:
    """A logarithmic axis over all values: its ends as exponents of ten, and ticks in each decade, fewer on a longer
    axis. On one so short that hardly any fall on it, the ticks are evenly spaced."""
    low, high = log10(min(values)), log10(max(values))
    room = max(0.06, 0.08 * (high - low))
    low, high = low - room, high + room
    span = high - low
    steps = (1,) if span > 4 else (1, 3) if span > 2 else (1, 2, 5) if span > 1 else (1, 1.5, 2, 3, 5, 7)
    ticks = [step * 10.0**decade for decade in range(floor(low), ceil(high)) for step in steps]
    ticks = [tick for tick in ticks if low <= log10(tick) <= high]
    if len(ticks) < _LEAST_TICKS:
        apart = _nice((10**high - 10**low) / 6)
        ticks = [apart * place for place in range(ceil(10**low / apart), floor(10**high / apart) + 1)]
    return ValueRange(low=low, high=high, ticks=tuple(ticks))


def _range(
    intervals: Sequence[tuple[float, float]],
    *,
    unit: float,
    step: float,
    below: float,
    headroom: float,
    percent: bool,
) -> ValueRange:
    lowest, highest = min(low for low, _ in intervals), max(high for _, high in intervals)
    low = max(0.0, floor((lowest - below) / unit) * unit)
    high = max(low + unit, ceil(highest / unit) * unit)
    while highest + headroom * (high - low) > high:
        high += unit
    first, last = ceil(low / step - 1e-9), floor(min(high, 100.0 if percent else high) / step + 1e-9)
    return ValueRange(low=low, high=high, ticks=tuple(round(tick * step, 6) for tick in range(first, last + 1)))


def _nice(value: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below ``value``; 1 where that is not positive."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= value * (1 - 1e-9))
