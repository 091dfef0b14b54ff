"""Scores against what a training takes: each arm a point, and the line of those that no cheaper arm beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Any

from reports.analysis import Analysis
from reports.figures.ranges import decades
from reports.frame import Arm, Measure, Results
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.statistics import Estimate
from reports.style import OKABE_ITO, heading, legend_above, plain_layout, verbatim

LEAST_RATIO = 1.1
"""Least ratio of the dearest training's cost to the cheapest's at which there is anything to see."""

_TRAININGS = ("encoder", "pretrain")
_PANEL, _LEFT, _RIGHT, _TOP, _PLOT, _ROW = 250, 46, 8, 64, 242, 318
_FRONT, _BEHIND = OKABE_ITO[0], "#8a8a8a"


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a training takes, counted in one way."""

    label: str
    amounts: Mapping[str, float]
    """By arm key, where known."""
    powers: bool
    """Whether it is shown in units of a power of ten."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """An arm that has scores and a known cost."""

    arm: Arm
    cost: float
    estimate: Estimate
    """The mean of one measure, in stored units."""


def has_cost(analysis: Analysis) -> bool:
    """Whether there is anything to see: scored arms whose trainings differ in cost by ``LEAST_RATIO`` or more."""
    return bool(_prices(analysis))


def cost(analysis: Analysis) -> Figure:
    """A row for each way of counting, a panel for each headline measure. Raises ``ReportError`` where all trainings
    cost the same, or the plan does not say what they cost."""
    prices = _prices(analysis)
    if not prices:
        raise ReportError("no two scored arms of which the plan says that their trainings cost differently")
    shown = [one for one in analysis.results.headline if any(_points(analysis, one, price) for price in prices)]
    width, height = len(shown) * (_LEFT + _PANEL + _RIGHT), _TOP + len(prices) * _ROW
    parts: dict[str, Any] = {"annotations": []}
    traces: list[dict[str, Any]] = []
    places = [(row, column) for row in range(len(prices)) for column in range(len(shown))]
    for number, (row, column) in enumerate(places):
        price, measure = prices[row], shown[column]
        points = _points(analysis, measure, price)
        suffix = "" if number == 0 else str(number + 1)
        left, top = column * (_LEFT + _PANEL + _RIGHT) + _LEFT, 1 - (_TOP + row * _ROW) / height
        domain = (left / width, (left + _PANEL) / width)
        for trace in _traces(points, measure, price):
            traces.append(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": number == 0})
        axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True, "ticks": ""}
        parts[f"xaxis{suffix}"] = axis | {"domain": domain, "anchor": f"y{suffix}", **_logarithmic(points, price)}
        parts[f"yaxis{suffix}"] = axis | {"domain": (top - _PLOT / height, top), "anchor": f"x{suffix}"}
        title = f"<b>{verbatim(measure.label)}</b> ({measure.unit})"
        parts["annotations"].append(heading(title, sum(domain) / 2, top))
    return figure(traces, plain_layout(width=width, height=height, legend=legend_above(height), **parts))


def front(points: Sequence[Point]) -> list[Point]:
    """The points whose mean is above that of every cheaper one, by cost; of equally costly points, the highest."""
    ahead: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.estimate.mean)):
        if not ahead or point.estimate.mean > ahead[-1].estimate.mean:
            ahead.append(point)
    return ahead


def _prices(analysis: Analysis) -> list[Price]:
    """Operations, and hours in addition; hours alone are not enough, since chance alone makes them differ."""
    results = analysis.results
    known = {arm.key: arm.operations for arm in results.arms if arm.operations}
    operations = Price(label="operations of a training", amounts=known, powers=True)
    if not _differs(analysis, operations):
        return []
    label, devices = _devices(results.plan.get("resources") or {})
    hours = {arm.key: devices * spent for arm in results.arms if (spent := _hours(results, arm)) is not None}
    measured = Price(label=f"{label} of a training", amounts=hours, powers=False)
    return [operations, measured] if _differs(analysis, measured) else [operations]


def _differs(analysis: Analysis, price: Price) -> bool:
    costs = [[point.cost for point in _points(analysis, one, price)] for one in analysis.results.headline]
    return any(one and max(one) >= LEAST_RATIO * min(one) for one in costs)


def _devices(resources: Mapping[str, Any]) -> tuple[str, int]:
    """The unit that hours are counted in, and how many such devices a training asks for."""
    nodes, gpus, cpus = (int(resources.get(name) or 0) for name in ("nodes", "gpus", "cpus"))
    if gpus:
        return "GPU-hours", nodes * gpus
    return ("core-hours", nodes * cpus) if cpus else ("hours", 1)


def _hours(results: Results, arm: Arm) -> float | None:
    """Hours of a training and its encoder's, the mean over the seeds; resumed trainings, which record only their last
    part, are left out."""
    spent = []
    for trial in results.done(arm.key).values():
        made = [
            results.records.stages[stage].get("provenance", {})
            for stage in trial.stages
            if stage[0] in _TRAININGS and stage in results.records.stages
        ]
        if made and all(one.get("seconds") and not one.get("resumed") for one in made):
            spent.append(sum(float(one["seconds"]) for one in made) / 3600)
    return sum(spent) / len(spent) if spent else None


def _points(analysis: Analysis, measure: Measure, price: Price) -> list[Point]:
    return [
        Point(arm=arm, cost=price.amounts[arm.key], estimate=estimate)
        for arm in analysis.results.arms
        if arm.key in price.amounts and (estimate := analysis.mean(arm, measure)) is not None
    ]


def _traces(points: Sequence[Point], measure: Measure, price: Price) -> list[dict[str, Any]]:
    ahead = front(points)
    behind = [point for point in points if point not in ahead]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [point.cost for point in ahead],
        "y": [point.estimate.mean * measure.scale for point in ahead],
        "line": {"color": _FRONT, "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
        "name": "the best for the money",
    }
    dots = [_dots(ahead, measure, price, "no cheaper arm is higher", _FRONT, "circle")]
    if behind:
        dots.append(_dots(behind, measure, price, "a cheaper or equal one is", _BEHIND, "circle-open"))
    return [line, *dots]


def _dots(
    points: Sequence[Point], measure: Measure, price: Price, name: str, colour: str, symbol: str
) -> dict[str, Any]:
    scale = measure.scale
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [point.cost for point in points],
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
            f"{point.estimate.high * scale:.1f}) {measure.unit}<br>{point.cost:.3g} {price.label}"
            for point in points
        ],
        "hoverinfo": "text",
    }


def _logarithmic(points: Sequence[Point], price: Price) -> dict[str, Any]:
    costs = [point.cost for point in points] or [1.0]
    shown = decades(costs)
    unit = floor(log10(min(costs))) if price.powers else 0
    return {
        "type": "log",
        "range": (shown.low, shown.high),
        "tickvals": shown.ticks,
        "ticktext": [f"{tick / 10**unit:g}" for tick in shown.ticks],
        "tickangle": 0,
        "title": {
            "text": price.label + (f" (10<sup>{unit}</sup>)" if price.powers else ""),
            "font": {"size": 12},
            "standoff": 4,
        },
    }
