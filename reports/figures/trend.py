"""Scores along an axis of numbers, as MM1's Fig. 7b and 7c: a row for each such axis, a panel for each headline
measure, a line through the arms that are alike on all other axes."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from reports.analysis import Analysis
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.statistics import Estimate
from reports.style import OKABE_ITO, heading, plain_layout, verbatim

LEAST_VALUES = 3
MOST_AXES, MOST_LINES = 3, 7
_DECADE = 10.0
"""Ratio of the largest value to the smallest from which the axis is logarithmic."""
_APART = 0.15
"""Of the panel's width: values that are nearer to each other share a label."""
_LEFT, _PANEL, _RIGHT, _PLOT, _TOP, _BOTTOM, _LETTER = 46, 250, 8, 200, 34, 54, 6.6
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")

Line = tuple[str, list[tuple[float, Estimate]]]
"""What its arms have in common, and their scores by value, smallest first."""


def number_axes(analysis: Analysis) -> list[Mapping[str, Any]]:
    """Axes along which some arms, alike in all else, stand at ``LEAST_VALUES`` numbers or more and have scores."""
    axes = analysis.results.plan["axes"]
    return [axis for axis in axes if any(_lines(analysis, axis, one) for one in analysis.results.headline)][:MOST_AXES]


def trend(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where no axis is one of numbers."""
    axes, measures = number_axes(analysis), analysis.results.headline
    if not axes:
        raise ReportError(f"no axis has scores at {LEAST_VALUES} numbers or more")
    words = max(len(name) for axis in axes for measure in measures for name, _ in _lines(analysis, axis, measure))
    panels = len(measures) * (_LEFT + _PANEL + _RIGHT)
    width, height = panels + (58 + _LETTER * words if words else 0), len(axes) * (_TOP + _PLOT + _BOTTOM)
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": []}
    for row, axis in enumerate(axes):
        top = 1 - (row * (_TOP + _PLOT + _BOTTOM) + _TOP) / height
        legend = "legend" if row == 0 else f"legend{row + 1}"
        parts[legend] = {"x": panels / width, "xanchor": "left", "y": top, "yanchor": "top", "itemclick": False}
        for column, measure in enumerate(measures):
            number = row * len(measures) + column
            suffix = "" if number == 0 else str(number + 1)
            left = (column * (_LEFT + _PANEL + _RIGHT) + _LEFT) / width
            domain = (left, left + _PANEL / width)
            lines = _lines(analysis, axis, measure)
            for place, line in enumerate(lines[:MOST_LINES]):
                named = column == 0 and len(lines) > 1
                trace = _trace(line, measure, place)
                places = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legend": legend}
                traces.append(trace | places | {"showlegend": named})
            base = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True, "ticks": ""}
            parts[f"xaxis{suffix}"] = base | {"domain": domain, "anchor": f"y{suffix}", **_scale(axis, lines)}
            parts[f"yaxis{suffix}"] = base | {"domain": (top - _PLOT / height, top), "anchor": f"x{suffix}"}
            title = f"<b>{verbatim(measure.label)}</b> ({measure.unit})"
            parts["annotations"].append(heading(title, sum(domain) / 2, top))
    return figure(traces, plain_layout(width=width, height=height, **parts))


def _lines(analysis: Analysis, axis: Mapping[str, Any], measure: Measure) -> list[Line]:
    """The baseline's line first."""
    found: dict[tuple[tuple[str, str], ...], list[tuple[float, Estimate, Arm]]] = {}
    for arm in analysis.results.arms:
        value, mean = _number(arm, axis), analysis.mean(arm, measure)
        if value is not None and mean is not None:
            others = tuple((name, label) for name, label in arm.values.items() if name != axis["name"])
            found.setdefault(others, []).append((value, mean, arm))
    drawn = {
        others: points for others, points in found.items() if len({value for value, _, _ in points}) >= LEAST_VALUES
    }
    telling = {name for others in drawn for name, label in others if any((name, label) not in one for one in drawn)}
    ordered = sorted(drawn.items(), key=lambda pair: not any(arm.baseline for _, _, arm in pair[1]))
    return [
        (
            ", ".join(f"{name.rpartition('.')[2]}={label}" for name, label in others if name in telling),
            sorted(((value, mean) for value, mean, _ in points), key=lambda point: point[0]),
        )
        for others, points in ordered
    ]


def _number(arm: Arm, axis: Mapping[str, Any]) -> float | None:
    """Where an arm stands: the first of the axis' keys counts."""
    value = arm.settings.get(axis["keys"][0]) if axis["keys"] else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _trace(line: Line, measure: Measure, place: int) -> dict[str, Any]:
    name, points = line
    colour, scale = OKABE_ITO[place % len(OKABE_ITO)], measure.scale
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": verbatim(name),
        "legendgroup": name,
        "x": [value for value, _ in points],
        "y": [mean.mean * scale for _, mean in points],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(mean.high - mean.mean) * scale for _, mean in points],
            "arrayminus": [(mean.mean - mean.low) * scale for _, mean in points],
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        },
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "size": 7},
        "hovertemplate": f"%{{x}}: %{{y:.1f}} {measure.unit}<extra>{verbatim(name)}</extra>",
    }


def _scale(axis: Mapping[str, Any], lines: Sequence[Line]) -> dict[str, Any]:
    """Ticks at the values themselves; logarithmic where they span a factor of ten."""
    values = sorted({value for _, points in lines for value, _ in points})
    logarithmic = bool(values) and values[0] > 0 and values[-1] >= _DECADE * values[0]
    places = [log10(value) if logarithmic else value for value in values]
    named: list[int] = []
    for number, place in enumerate(places):
        if not named or place - places[named[-1]] >= _APART * (places[-1] - places[0]):
            named.append(number)
    return {
        "type": "log" if logarithmic else "linear",
        "tickvals": [values[number] for number in named],
        "ticktext": [f"{values[number]:g}" for number in named],
        "tickfont": {"size": 11},
        "tickangle": 0,
        "title": {"text": verbatim(axis["keys"][0]), "font": {"size": 12}, "standoff": 4},
    }
