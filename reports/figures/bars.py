"""Grouped bars of scores: the traces, the numbers above them, and a word where a bar is missing.

A missing arm keeps its slot empty and says why. A value over fewer seeds than planned is starred. Error bars are the
95 % intervals and are drawn for means over at least two seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.analysis import Analysis
from reports.frame import Arm, Measure
from reports.style import MISSING, BarStyle, verbatim


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a group or a panel of bars measures."""

    label: str
    unit: str

    @property
    def percent(self) -> bool:
        return self.unit == "%"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar, in shown units; ``value`` is ``None`` where there is nothing to show."""

    value: float | None
    low: float | None
    """Lower end of the interval; ``None`` without at least two seeds."""
    high: float | None
    note: str
    """Text in place of a missing value, ``*`` for fewer seeds than planned, or empty."""

    @property
    def reach(self) -> tuple[float, float] | None:
        """What must be visible: the interval, or the value alone."""
        if self.value is None:
            return None
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)


def bar(analysis: Analysis, arm: Arm | None, measure: Measure) -> Bar:
    """The bar of an arm for a measure; an empty slot says why it is empty."""
    if arm is None:
        return Bar(value=None, low=None, high=None, note="no arm")
    mean = analysis.mean(arm, measure)
    trials = analysis.results.trials(arm.key)
    if mean is None:
        states = [trial.state for trial in trials if trial.state != "done"]
        note = max(sorted(set(states)), key=states.count) if states else "not evaluated"
        return Bar(value=None, low=None, high=None, note=note)
    several = mean.seeds > 1
    return Bar(
        value=mean.mean * measure.scale,
        low=mean.low * measure.scale if several else None,
        high=mean.high * measure.scale if several else None,
        note="*" if mean.seeds < analysis.results.planned_seeds else "",
    )


def column(measure: Measure) -> Column:
    return Column(label=measure.label, unit=measure.unit)


def figure_number(value: float) -> str:
    """One decimal, a trailing zero dropped, as the paper labels its bars."""
    return f"{value:.1f}".removesuffix(".0")


def trace(
    bars: Sequence[Bar],
    positions: Sequence[float],
    *,
    name: str,
    series: int,
    width: float,
    style: BarStyle,
    axes: Mapping[str, str],
    unit: str,
    groups: Sequence[str],
    in_legend: bool,
) -> dict[str, Any]:
    """One series as a bar trace; ``positions`` are the bars' centres, ``axes`` its ``xaxis`` and ``yaxis``."""
    shown = [(bar, x, group) for bar, x, group in zip(bars, positions, groups, strict=True) if bar.value is not None]
    result: dict[str, Any] = {
        "type": "bar",
        "name": verbatim(name),
        "x": [x for _, x, _ in shown] or [None],  # an empty trace would lose its legend entry
        "y": [bar.value for bar, _, _ in shown] or [None],
        "width": width,
        "marker": {
            "color": style.colour(series),
            "line": {"color": "#000000", "width": 1},
            "pattern": {
                "shape": style.hatch(series),
                "fillmode": "overlay",
                "fgcolor": "#000000",
                "size": style.hatch_spacing,
                "solidity": 0.1,
            },
        },
        "showlegend": in_legend,
        "hovertext": [verbatim(f"{name}, {group}: {_spoken(bar, unit)}") for bar, _, group in shown],
        "hoverinfo": "text",
        **axes,
    }
    if any(bar.low is not None for bar, _, _ in shown):
        result["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [_length(bar.high, bar.value) for bar, _, _ in shown],
            "arrayminus": [_length(bar.value, bar.low) for bar, _, _ in shown],
            "color": "#222222",
            "thickness": 1,
            "width": 3,
        }
    return result


def value_label(
    bar: Bar, x: float, y: float, *, rotated: bool, font: Mapping[str, Any], axes: Mapping[str, str]
) -> dict[str, Any]:
    """The number above a bar at the height ``y``, as an annotation; ``axes`` are its ``xref`` and ``yref``."""
    text = bar.note if bar.value is None else figure_number(bar.value) + bar.note
    return {
        "x": x,
        "y": y,
        "text": verbatim(text),
        "showarrow": False,
        "textangle": -90 if rotated else 0,
        "xanchor": "center",
        "yanchor": "bottom",
        "yshift": 2 if rotated else 0,
        "borderpad": 0,
        "font": dict(font) if bar.value is not None else {**font, "color": MISSING, "weight": "normal"},
        **axes,
    }


def _length(upper: float | None, lower: float | None) -> float:
    return 0.0 if upper is None or lower is None else upper - lower


def _spoken(bar: Bar, unit: str) -> str:
    interval = "" if bar.low is None else f" (95 % interval {bar.low:.1f} to {bar.high:.1f})"
    return f"{bar.value:.1f} {unit}{interval}{' · fewer seeds than planned' if bar.note == '*' else ''}"
