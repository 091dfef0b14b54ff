"""Panels of lines in the style of MM1's Fig. 7b and 7c: a thick orange line with filled circles, a grid with a finer
one behind it, a closed frame. Further lines get other colours and symbols, so that no two differ by colour alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from reports.plot import Figure, figure
from reports.style import FIGURE_7, SERIF, frame_axis, layout, verbatim

DECADE = 10.0
"""Ratio of the largest value to the smallest from which an axis is logarithmic."""

_APART, _APART_TURNED = 0.15, 0.08
"""Shares of the panel's width: of values closer together only the first is labelled; rotated labels need less room."""
_LEFT, _PANEL, _RIGHT, _PLOT, _TOP, _BOTTOM, _LETTER = 62, 250, 8, 200, 38, 74, 8.5
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points of one line in shown units, from left to right."""

    name: str
    """Empty where there is only one."""
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    """Ends of the intervals or ranges; empty without any."""
    high: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Panel:
    title: str
    unit: str
    lines: Sequence[Line]
    vertical: tuple[float, float, float] | None = None
    """Ends of the vertical axis and the distance between its ticks; ``None`` to fit the points."""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Panels side by side over one kind of horizontal axis."""

    label: str
    """Title of the horizontal axis."""
    panels: Sequence[Panel]
    logarithmic: bool = False
    """Whether the horizontal axis is logarithmic, however short it is."""
    named: bool = True
    """Whether the ticks are at the values; else they are evenly spaced from zero."""


def draw_lines(strips: Sequence[Strip]) -> Figure:
    """The strips one below the other; at least one must have a line."""
    names = [line.name for strip in strips for panel in strip.panels for line in panel.lines]
    words = min(60, max(map(len, names)))
    panels = max(len(strip.panels) for strip in strips) * (_LEFT + _PANEL + _RIGHT)
    width, height = panels + (58 + _LETTER * words if words else 0), len(strips) * (_TOP + _PLOT + _BOTTOM)
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": []}
    number = 0
    for row, strip in enumerate(strips):
        top = 1 - (row * (_TOP + _PLOT + _BOTTOM) + _TOP) / height
        legend = "legend" if row == 0 else f"legend{row + 1}"
        parts[legend] = {"x": panels / width, "xanchor": "left", "y": top, "yanchor": "top", "itemclick": False}
        for column, panel in enumerate(strip.panels):
            number += 1
            suffix = "" if number == 1 else str(number)
            left = (column * (_LEFT + _PANEL + _RIGHT) + _LEFT) / width
            domain = (left, left + _PANEL / width)
            for place, line in enumerate(panel.lines):
                places = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legend": legend}
                named = column == 0 and bool(line.name)
                traces.append(_trace(line, panel, place, named=named) | places)
            parts[f"xaxis{suffix}"] = _axis(domain=domain, anchor=f"y{suffix}", **_scale(strip, panel))
            parts[f"yaxis{suffix}"] = _axis(domain=(top - _PLOT / height, top), anchor=f"x{suffix}", **_rise(panel))
            if column == 0:
                parts[f"yaxis{suffix}"]["title"] = {
                    "text": "Average evaluation metric",
                    "font": {"size": 15},
                    "standoff": 6,
                }
            parts["annotations"].append(_heading(panel, left, top))
    margin = {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False}
    return figure(traces, layout(width=width, height=height, margin=margin, **parts))


def _rise(panel: Panel) -> dict[str, Any]:
    """The vertical axis, with a little room even around values that hardly vary."""
    if panel.vertical is not None:
        low, high, apart = panel.vertical
        return {"range": (low, high), "tick0": 0, "dtick": apart}
    seen = [value for line in panel.lines for values in (line.y, line.low, line.high) for value in values] or [0.0]
    room = max(0.06 * (max(seen) - min(seen)), 0.5)
    return {"range": (min(seen) - room, max(seen) + room)}


def _axis(**extra: Any) -> dict[str, Any]:
    fine = {"showgrid": True, "gridcolor": FIGURE_7.fine_grid, "ticks": "inside", "ticklen": 3}
    grid = {"showgrid": True, "gridcolor": FIGURE_7.grid, "ticks": "inside", "ticklen": 5, "mirror": "ticks"}
    return frame_axis(minor=fine | extra.pop("minor", {}), tickfont={"size": 12}, **grid, **extra)


def _scale(strip: Strip, panel: Panel) -> dict[str, Any]:
    """Ticks at the values themselves, with labels rotated on a logarithmic axis, as for the paper's resolutions."""
    values = sorted({value for line in panel.lines for value in line.x})
    logarithmic = bool(values) and values[0] > 0 and (strip.logarithmic or values[-1] >= DECADE * values[0])
    logarithmic = logarithmic and strip.named
    scale: dict[str, Any] = {
        "type": "log" if logarithmic else "linear",
        "tickangle": -45 if logarithmic else 0,
        "title": {"text": verbatim(strip.label), "font": {"size": 15}, "standoff": 4},
    }
    if not strip.named:
        return scale | {"rangemode": "tozero"}
    places = [log10(value) if logarithmic else value for value in values]
    named: list[int] = []
    for number, place in enumerate(places):
        apart = _APART_TURNED if logarithmic else _APART
        if not named or place - places[named[-1]] >= apart * (places[-1] - places[0]):
            named.append(number)
    ticks = [values[number] for number in named]
    scale |= {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return scale | {"minor": {"tickvals": _within_decades(values)}} if logarithmic else scale


def _within_decades(values: Sequence[float]) -> list[float]:
    """The finer lines of logarithmic paper; Plotly's own would be evenly spaced in the values."""
    first, last = floor(log10(values[0])) - 1, ceil(log10(values[-1]))
    return [digit * 10.0**decade for decade in range(first, last + 1) for digit in range(1, 10)]


def _trace(line: Line, panel: Panel, place: int, *, named: bool) -> dict[str, Any]:
    colour, symbol = FIGURE_7.colours[place % len(FIGURE_7.colours)], _SYMBOLS[place % len(_SYMBOLS)]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": verbatim(line.name),
        "legendgroup": line.name,
        "showlegend": named,
        "x": line.x,
        "y": line.y,
        "line": {"color": colour, "width": 3 if place == 0 else 2},
        "marker": {"color": colour, "symbol": symbol, "size": 8},
        "cliponaxis": False,
        "hovertemplate": f"%{{x}}: %{{y:.1f}} {panel.unit}<extra>%{{fullData.name}}</extra>",
    }
    if line.low:
        trace["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [high - y for high, y in zip(line.high, line.y, strict=True)],
            "arrayminus": [y - low for low, y in zip(line.low, line.y, strict=True)],
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        }
    return trace


def _heading(panel: Panel, x: float, y: float) -> dict[str, Any]:
    return {
        "text": verbatim(panel.title) + (f" ({panel.unit})" if panel.unit else ""),
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 3,
        "showarrow": False,
        "font": {"family": SERIF, "size": 16},
    }
