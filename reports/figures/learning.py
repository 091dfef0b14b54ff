"""Learning curves: the loss of training by step, a line for each arm with the range of its seeds."""

from collections.abc import Sequence
from typing import Any

from reports.analysis import Analysis
from reports.curves import Curve, learning_curves
from reports.figures.ranges import decades
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import OKABE_ITO, plain_layout, verbatim

MOST_ARMS = 12
_DASHES = ("solid", "dash", "dot")


def learning(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where no training has recorded losses."""
    curves = learning_curves(analysis.results, most=MOST_ARMS)
    if not curves:
        raise ReportError("no training left its losses")
    traces = [trace for number, curve in enumerate(curves) for trace in _traces(curve, number)]
    axis: dict[str, Any] = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "fixedrange": True, "ticks": ""}
    words = min(60, max(len(curve.arm.label) for curve in curves))
    legend_width = 60 + 7 * words
    return figure(
        traces,
        plain_layout(
            width=724 + legend_width,
            height=420,
            margin={"l": 64, "r": legend_width, "t": 16, "b": 52, "autoexpand": False},
            xaxis={**axis, "title": {"text": "step"}, "rangemode": "tozero"},
            yaxis={**axis, **_losses(curves), "title": {"text": "loss of training (nats a token)"}},
            legend={"x": 1.01, "y": 1},
        ),
    )


def _losses(curves: Sequence[Curve]) -> dict[str, Any]:
    """A logarithmic axis with every tick label written out: Plotly's own would shorten 0.5 to 5."""
    seen = [value for curve in curves for value in (*curve.low, *curve.high) if value > 0]
    shown = decades(seen or [1.0])
    return {
        "type": "log",
        "range": (shown.low, shown.high),
        "tickvals": shown.ticks,
        "ticktext": [f"{tick:g}" for tick in shown.ticks],
    }


def _traces(curve: Curve, number: int) -> list[dict[str, Any]]:
    colour, dash = OKABE_ITO[number % len(OKABE_ITO)], _DASHES[number // len(OKABE_ITO) % len(_DASHES)]
    name = verbatim(curve.arm.label) + (" †" if curve.arm.baseline else "")
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "legendgroup": curve.arm.key,
        "x": curve.steps,
        "y": curve.mean,
        "line": {"color": colour, "dash": dash, "width": 2},
        "hovertemplate": "%{fullData.name}<br>step %{x}: %{y:.3f}<extra></extra>",
    }
    if curve.seeds == 1:
        return [line]
    band = {
        "type": "scatter",
        "mode": "lines",
        "legendgroup": curve.arm.key,
        "showlegend": False,
        "x": (*curve.steps, *reversed(curve.steps)),
        "y": (*curve.high, *reversed(curve.low)),
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.18,
        "hoverinfo": "skip",
    }
    return [band, line]
