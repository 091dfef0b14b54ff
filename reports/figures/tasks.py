"""Every task by itself: a small panel for each, the arms' scores at every number of shots, with 95 % intervals."""

from collections.abc import Sequence
from typing import Any

from reports.analysis import Analysis
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import OKABE_ITO, heading, plain_layout, verbatim
from reports.task_grid import leading_measures

MOST_ARMS = 7
"""Arms drawn, the baseline and the first others: more could not be distinguished."""

_IN_A_ROW = 4
_PANEL, _LEFT, _RIGHT, _TOP, _PLOT, _BOTTOM, _LETTER = 200, 46, 8, 34, 150, 44, 6.6
_SPREAD = 0.24
"""Of the distance between two numbers of shots, the share over which the arms' points are spread."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")


def tasks(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where no arm has scores."""
    places = leading_measures(analysis)
    names = list(dict.fromkeys(task for task, _ in places))
    arms = sorted(analysis.results.arms, key=lambda arm: not arm.baseline)
    arms = [arm for arm in arms if analysis.results.done(arm.key)][:MOST_ARMS]
    if not arms:
        raise ReportError("no arm has scores yet; run the sweep first")
    columns = min(_IN_A_ROW, len(names))
    rows = -(-len(names) // columns)
    panels = columns * (_LEFT + _PANEL + _RIGHT)
    words = max(min(60, len(arm.label)) for arm in arms)
    width, height = panels + 58 + _LETTER * words, rows * (_TOP + _PLOT + _BOTTOM)
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": [], "legend": {"x": panels / width, "y": 0.94, "itemclick": False}}
    base = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True, "ticks": ""}
    for number, name in enumerate(names):
        row, column = divmod(number, columns)
        suffix = "" if number == 0 else str(number + 1)
        left, top = column * (_LEFT + _PANEL + _RIGHT) + _LEFT, 1 - (row * (_TOP + _PLOT + _BOTTOM) + _TOP) / height
        domain = (left / width, (left + _PANEL) / width)
        shots = sorted(count for task, count in places if task == name)
        for place, arm in enumerate(arms):
            trace = _trace(analysis, arm, [places[name, count] for count in shots], shots, place, len(arms))
            traces.append(trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "showlegend": number == 0})
        unit = next(measure.unit for (task, _), measure in places.items() if task == name)
        parts[f"xaxis{suffix}"] = base | {
            "domain": domain,
            "anchor": f"y{suffix}",
            "tickvals": list(range(len(shots))),
            "ticktext": [str(count) for count in shots],
            "range": (-0.5, len(shots) - 0.5),
            "title": {"text": "shots", "font": {"size": 12}, "standoff": 2},
        }
        parts[f"yaxis{suffix}"] = base | {"domain": (top - _PLOT / height, top), "anchor": f"x{suffix}"}
        title = f"<b>{verbatim(name.replace('_', ' '))}</b> ({unit})"
        parts["annotations"].append(heading(title, sum(domain) / 2, top))
    return figure(traces, plain_layout(width=width, height=height, **parts))


def _trace(
    analysis: Analysis, arm: Arm, measures: Sequence[Measure], shots: Sequence[int], place: int, count: int
) -> dict[str, Any]:
    """One arm's trace, shifted sideways a little so that the arms' intervals do not cover each other."""
    known = [
        (number, mean, measure)
        for number, measure in enumerate(measures)
        if (mean := analysis.mean(arm, measure)) is not None
    ]
    aside = 0.0 if count == 1 else _SPREAD * (place / (count - 1) - 0.5)
    colour = OKABE_ITO[place % len(OKABE_ITO)]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": verbatim(arm.label) + (" †" if arm.baseline else ""),
        "legendgroup": arm.key,
        "x": [number + aside for number, _, _ in known] or [None],
        "y": [mean.mean * measure.scale for _, mean, measure in known] or [None],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [(mean.high - mean.mean) * measure.scale for _, mean, measure in known],
            "arrayminus": [(mean.mean - mean.low) * measure.scale for _, mean, measure in known],
            "color": colour,
            "thickness": 1.2,
            "width": 2,
        },
        "line": {"color": colour, "width": 1},
        "marker": {"color": colour, "symbol": _SYMBOLS[place % len(_SYMBOLS)], "size": 6},
        "hovertext": [
            verbatim(
                f"{arm.label}, {shots[number]} shots: {mean.mean * measure.scale:.1f} "
                f"({mean.low * measure.scale:.1f} to {mean.high * measure.scale:.1f}) {measure.unit}"
            )
            for number, mean, measure in known
        ],
        "hoverinfo": "text",
    }
