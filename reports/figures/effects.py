"""What every axis changes: differences from its reference value with 95 % intervals, one panel per measure.

Without any pair to compare (no baseline and no axis with two comparable arms) the arms' means are drawn instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.analysis import Analysis, Difference
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import VERDICT_COLOURS, VERDICT_SYMBOLS, heading, legend_above, plain_layout, verbatim

MOST_ROWS = 40
"""Rows drawn; the tables have all of them."""

_ROW, _TOP, _BOTTOM, _GAP = 24, 64, 52, 28
_PAGE, _LEAST_PANEL, _MOST_PANEL = 1200, 130, 210
"""Widths: of a report's page, and of a panel, which is narrower where labels are long."""
_MEANINGS = {
    "higher": "higher (adjusted p < 0.05)",
    "lower": "lower (adjusted p < 0.05)",
    "equivalent": "within the margin (tested)",
    "unclear": "unclear",
    "mean": "mean",
}


@dataclass(frozen=True, kw_only=True)
class _Dot:
    """A point with its interval, in shown units."""

    value: float
    low: float
    high: float
    kind: str
    """A verdict, or ``mean``."""
    hover: str


@dataclass(frozen=True, kw_only=True)
class _Row:
    label: str
    heading: bool
    """Whether it is an axis' name above its values, without dots."""
    dots: dict[str, _Dot]
    """By measure key."""


def effects(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where no arm has scores."""
    rows, of_differences = _rows(analysis)
    measures = [measure for measure in analysis.results.headline if any(measure.key in row.dots for row in rows)]
    if not measures:
        raise ReportError("no arm has scores yet; run the sweep first")
    left = 20 + max((8.2 if row.heading else 7.0) * len(row.label) for row in rows)  # bold letters are wider
    panel = min(_MOST_PANEL, max(_LEAST_PANEL, (_PAGE - left) / len(measures) - _GAP))
    width = left + len(measures) * (panel + _GAP)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    bottom, top = _BOTTOM / height, 1 - _TOP / height
    parts: dict[str, Any] = {"annotations": [], "shapes": []}
    traces: list[dict[str, Any]] = []
    named: set[str] = set()
    for number, measure in enumerate(measures):
        suffix = "" if number == 0 else str(number + 1)
        start = left + number * (panel + _GAP)
        domain = (start / width, (start + panel) / width)
        for kind in _MEANINGS:
            points = [(row.dots[measure.key], y) for y, row in enumerate(rows) if measure.key in row.dots]
            points = [(dot, y) for dot, y in points if dot.kind == kind]
            if points:
                traces.append(_trace(points, kind, suffix, in_legend=kind not in named))
                named.add(kind)
        parts[f"xaxis{suffix}"] = {
            "domain": domain,
            "anchor": f"y{suffix}",
            "zeroline": of_differences,
            "zerolinecolor": "#8a8a8a",
            "zerolinewidth": 1.5,
            "gridcolor": "rgba(128,128,128,0.25)",
            "showgrid": True,
            "fixedrange": True,
            "ticks": "",
            "nticks": 5,  # more would run into each other and into the next panel
            "title": {"text": _unit(measure, of_differences), "font": {"size": 12}, "standoff": 4},
        }
        parts[f"yaxis{suffix}"] = {
            "domain": (bottom, top),
            "anchor": f"x{suffix}",
            "range": [len(rows) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "ticks": "",
            "showticklabels": number == 0,
            "tickvals": list(range(len(rows))),
            "ticktext": [f"<b>{verbatim(row.label)}</b>" if row.heading else verbatim(row.label) for row in rows],
        }
        parts["annotations"].append(heading(f"<b>{verbatim(measure.label)}</b>", sum(domain) / 2, top))
        if of_differences:
            parts["shapes"].append(_margin_band(analysis.results.margin, suffix))
    return figure(
        traces,
        plain_layout(width=width, height=height, showlegend=of_differences, legend=legend_above(height), **parts),
    )


def _rows(analysis: Analysis) -> tuple[list[_Row], bool]:
    """Axis effects under their axis' name; else the arms against the baseline; else the arms' means."""
    measures = analysis.results.headline
    rows: list[_Row] = []
    for axis in dict.fromkeys(effect.axis for effect in analysis.axis_effects):
        found = [effect for effect in analysis.axis_effects if effect.axis == axis]
        rows.append(_Row(label=f"{_short(axis)} (against {_short(found[0].reference)})", heading=True, dots={}))
        for effect in found:
            averaged = f", mean over {effect.pairs} pairs of arms" if effect.pairs > 1 else ""
            dots = {
                measure.key: _difference(effect.differences[measure.key], measure, f"{axis}: {effect.value}{averaged}")
                for measure in measures
                if measure.key in effect.differences
            }
            label = _short(effect.value) if dots else f"{_short(effect.value)} – no scores"
            rows.append(_Row(label=label, heading=False, dots=dots))
    if any(row.dots for row in rows):
        return rows[:MOST_ROWS], True
    if analysis.differences:
        rows = [
            _Row(
                label=_short(arm.label),
                heading=False,
                dots={
                    measure.key: _difference(difference, measure, arm.label)
                    for measure in measures
                    if (difference := analysis.difference(arm, measure)) is not None
                },
            )
            for arm in analysis.results.arms
        ]
        return [row for row in rows if row.dots][:MOST_ROWS], True
    rows = [
        _Row(
            label=_short(arm.label),
            heading=False,
            dots={measure.key: dot for measure in measures if (dot := _mean(analysis, arm, measure)) is not None},
        )
        for arm in analysis.results.arms
    ]
    return [row for row in rows if row.dots][:MOST_ROWS], False


def _difference(difference: Difference, measure: Measure, what: str) -> _Dot:
    estimate, scale = difference.estimate, measure.scale
    return _Dot(
        value=estimate.mean * scale,
        low=estimate.low * scale,
        high=estimate.high * scale,
        kind=difference.verdict,
        hover=f"{what}, {measure.label}: {estimate.mean * scale:+.1f} "
        f"({estimate.low * scale:+.1f} to {estimate.high * scale:+.1f}), adjusted p = {difference.p_holm:.2g}, "
        f"{estimate.seeds} {'seeds' if estimate.seeds > 1 else 'seed: items alone'}",
    )


def _mean(analysis: Analysis, arm: Arm, measure: Measure) -> _Dot | None:
    mean = analysis.mean(arm, measure)
    if mean is None:
        return None
    value, low, high = (number * measure.scale for number in (mean.mean, mean.low, mean.high))
    return _Dot(
        value=value,
        low=low,
        high=high,
        kind="mean",
        hover=f"{arm.label}, {measure.label}: {value:.1f} ({low:.1f} to {high:.1f})",
    )


def _trace(points: Sequence[tuple[_Dot, int]], kind: str, suffix: str, *, in_legend: bool) -> dict[str, Any]:
    colour = VERDICT_COLOURS.get(kind, "#0072B2")
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _MEANINGS[kind],
        "showlegend": in_legend,
        "legendrank": list(_MEANINGS).index(kind),
        "x": [dot.value for dot, _ in points],
        "y": [y for _, y in points],
        "xaxis": f"x{suffix}",
        "yaxis": f"y{suffix}",
        "marker": {
            "color": colour,
            "size": 8,
            "symbol": VERDICT_SYMBOLS.get(kind, "circle"),
            "line": {"color": colour, "width": 1.5},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [dot.high - dot.value for dot, _ in points],
            "arrayminus": [dot.value - dot.low for dot, _ in points],
            "color": colour,
            "thickness": 1.5,
            "width": 3,
        },
        "hovertext": [verbatim(dot.hover) for dot, _ in points],
        "hoverinfo": "text",
    }


def _margin_band(margin: float, suffix: str) -> dict[str, Any]:
    return {
        "type": "rect",
        "layer": "below",
        "xref": f"x{suffix}",
        "yref": f"y{suffix} domain",
        "x0": -margin,
        "x1": margin,
        "y0": 0,
        "y1": 1,
        "fillcolor": "rgba(128,128,128,0.15)",
        "line": {"width": 0},
    }


def _unit(measure: Measure, of_differences: bool) -> str:
    if measure.scale != 100.0:
        return measure.unit
    return "difference in points" if of_differences else "%"


def _short(text: str, most: int = 44) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
