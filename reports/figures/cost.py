"""Scores against what a training takes: each arm a point, and the line of those that no cheaper arm beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

from reports.analysis import Analysis
from reports.figures.ranges import decades
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.statistics import Estimate
from reports.style import OKABE_ITO, heading, legend_above, plain_layout, verbatim

LEAST_RATIO = 1.1
"""Of the dearest training to the cheapest."""

_PANEL, _LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 250, 46, 8, 64, 54, 360
_FRONT, _BEHIND = OKABE_ITO[0], "#8a8a8a"


@dataclass(frozen=True, kw_only=True)
class Point:
    """An arm that has scores and a known cost."""

    arm: Arm
    operations: float
    estimate: Estimate
    """Of one measure, in stored units."""


def has_cost(analysis: Analysis) -> bool:
    """Whether there is anything to see: scored arms whose trainings differ in cost by ``LEAST_RATIO`` or more."""
    costs = [[point.operations for point in _points(analysis, one)] for one in analysis.results.headline]
    return any(one and max(one) >= LEAST_RATIO * min(one) for one in costs)


def cost(analysis: Analysis) -> Figure:
    """One panel a headline measure. Raises ``ReportError`` where all trainings cost the same, or the plan is silent."""
    if not has_cost(analysis):
        raise ReportError("no two scored arms of which the plan says that their trainings cost differently")
    shown = [(measure, points) for measure in analysis.results.headline if (points := _points(analysis, measure))]
    width = len(shown) * (_LEFT + _PANEL + _RIGHT)
    top = 1 - _TOP / _HEIGHT
    parts: dict[str, Any] = {"annotations": []}
    traces: list[dict[str, Any]] = []
    for number, (measure, points) in enumerate(shown):
        suffix = "" if number == 0 else str(number + 1)
        left = number * (_LEFT + _PANEL + _RIGHT) + _LEFT
        domain = (left / width, (left + _PANEL) / width)
        for trace in _traces(points, measure):
            traces.append(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": number == 0})
        axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True, "ticks": ""}
        parts[f"xaxis{suffix}"] = axis | {"domain": domain, "anchor": f"y{suffix}", **_logarithmic(points)}
        parts[f"yaxis{suffix}"] = axis | {"domain": (_BOTTOM / _HEIGHT, top), "anchor": f"x{suffix}"}
        title = f"<b>{verbatim(measure.label)}</b> ({measure.unit})"
        parts["annotations"].append(heading(title, sum(domain) / 2, top))
    return figure(traces, plain_layout(width=width, height=_HEIGHT, legend=legend_above(_HEIGHT), **parts))


def front(points: Sequence[Point]) -> list[Point]:
    """The points that are higher in the mean than every cheaper one, by cost; of equally dear ones the highest."""
    ahead: list[Point] = []
    for point in sorted(points, key=lambda point: (point.operations, -point.estimate.mean)):
        if not ahead or point.estimate.mean > ahead[-1].estimate.mean:
            ahead.append(point)
    return ahead


def _points(analysis: Analysis, measure: Measure) -> list[Point]:
    return [
        Point(arm=arm, operations=arm.operations, estimate=estimate)
        for arm in analysis.results.arms
        if arm.operations and (estimate := analysis.mean(arm, measure)) is not None
    ]


def _traces(points: Sequence[Point], measure: Measure) -> list[dict[str, Any]]:
    ahead = front(points)
    behind = [point for point in points if point not in ahead]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [point.operations for point in ahead],
        "y": [point.estimate.mean * measure.scale for point in ahead],
        "line": {"color": _FRONT, "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
        "name": "the best for the money",
    }
    dots = [_dots(ahead, measure, "no cheaper arm is higher", _FRONT, "circle")]
    if behind:
        dots.append(_dots(behind, measure, "a cheaper or equal one is", _BEHIND, "circle-open"))
    return [line, *dots]


def _dots(points: Sequence[Point], measure: Measure, name: str, colour: str, symbol: str) -> dict[str, Any]:
    scale = measure.scale
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [point.operations for point in points],
        "y": [point.estimate.mean * scale for point in points],
        "marker": {"color": colour, "size": 8, "symbol": symbol, "line": {"color": colour, "width": 1.5}},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(point.estimate.high - point.estimate.mean) * scale for point in points],
            "arrayminus": [(point.estimate.mean - point.estimate.low) * scale for point in points],
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        },
        "hovertext": [
            verbatim(point.arm.label + (" †" if point.arm.baseline else ""))
            + f"<br>{point.estimate.mean * scale:.1f} ({point.estimate.low * scale:.1f} to "
            f"{point.estimate.high * scale:.1f}) {measure.unit}<br>{point.operations:.3g} operations"
            for point in points
        ],
        "hoverinfo": "text",
    }


def _logarithmic(points: Sequence[Point]) -> dict[str, Any]:
    costs = [point.operations for point in points]
    shown = decades(costs)
    unit = floor(log10(min(costs)))
    return {
        "type": "log",
        "range": (shown.low, shown.high),
        "tickvals": shown.ticks,
        "ticktext": [f"{tick / 10**unit:g}" for tick in shown.ticks],
        "tickangle": 0,
        "title": {"text": f"operations of a training (10<sup>{unit}</sup>)", "font": {"size": 12}, "standoff": 4},
    }
