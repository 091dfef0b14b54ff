"""Heat maps of mean scores by the values of two axes: a row per pair of crossed axes, a panel per headline measure."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from reports.analysis import Analysis
from reports.frame import Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import heading, plain_layout, verbatim

MOST_PAIRS = 3
"""Pairs of axes that are drawn."""
MOST_VALUES = 12
"""Values of an axis that is drawn; more would be unreadable."""

LEAST_SPAN = 10
"""Least span of the colour scale, in margins of the sweep, so that values that hardly differ look alike."""

_LIGHT = 0.47
"""Above this share of the colour scale black reads better than white; both have a contrast of at least 4.5 (WCAG
2.2)."""

_SPACE = {"ticks": "outside", "ticklen": 4, "tickcolor": "rgba(0,0,0,0)"}
"""Space between the labels and the cells."""
_CELL, _ROW, _GAP, _TOP, _BOTTOM, _LETTER = 58, 34, 24, 62, 30, 6.6


def crossed_pairs(analysis: Analysis) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of the plan's axes that are crossed: every combination of their values has an arm."""
    pairs = []
    for first, second in combinations(analysis.results.plan["axes"], 2):
        places = {(arm.values.get(first["name"]), arm.values.get(second["name"])) for arm in analysis.results.arms}
        rows, columns = {row for row, _ in places}, {column for _, column in places}
        if len(places) == len(rows) * len(columns) and min(len(rows), len(columns)) > 1:
            pairs.append((first, second))
    return pairs


def interaction(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where no two axes are crossed, have few values, and have scores."""
    measures = analysis.results.headline
    tables = [
        (rows, columns, {measure.key: _means(analysis, rows, columns, measure) for measure in measures})
        for rows, columns in crossed_pairs(analysis)
        if max(len(rows["values"]), len(columns["values"])) <= MOST_VALUES
    ][:MOST_PAIRS]
    if not tables or not any(np.isfinite(table).any() for _, _, means in tables for table in means.values()):
        raise ReportError(f"no two crossed axes of at most {MOST_VALUES} values that have scores")
    least_span = LEAST_SPAN * analysis.results.margin
    left = 24 + _LETTER * max(len(_short(value["label"])) for rows, _, _ in tables for value in rows["values"])
    panel = _CELL * max(len(columns["values"]) for _, columns, _ in tables)
    width = left + len(measures) * (panel + _GAP)
    heights = [_ROW * len(rows["values"]) for rows, _, _ in tables]
    height = sum(heights) + len(tables) * (_TOP + _BOTTOM)
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": []}
    above = 0.0
    for number, (rows, columns, means) in enumerate(tables):
        top, bottom = above + _TOP, above + _TOP + heights[number]
        for place, measure in enumerate(measures):
            index = number * len(measures) + place
            suffix = "" if index == 0 else str(index + 1)
            start = left + place * (panel + _GAP)
            cells = _map(rows, columns, means[measure.key], measure, least_span=least_span)
            axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
            traces += [cells | axes, _numbers(cells) | axes]
            axis = {"type": "category", "fixedrange": True, "showgrid": False, "zeroline": False, **_SPACE}
            parts[f"xaxis{suffix}"] = axis | {
                "domain": (start / width, (start + _CELL * len(columns["values"])) / width),
                "anchor": f"y{suffix}",
                "range": (-0.5, len(columns["values"]) - 0.5),
            }
            parts[f"yaxis{suffix}"] = axis | {
                "domain": (1 - bottom / height, 1 - top / height),
                "anchor": f"x{suffix}",
                "range": (len(rows["values"]) - 0.5, -0.5),
                "showticklabels": place == 0,
            }
            title = f"<b>{verbatim(measure.label)}</b> ({measure.unit})"
            parts["annotations"].append(heading(title, start / width, 1 - top / height, xanchor="left"))
        title = f"{verbatim(rows['name'])} (down) by {verbatim(columns['name'])} (across)"
        parts["annotations"].append(heading(title, 8 / width, 1 - (top - 28) / height, xanchor="left"))
        above = bottom + _BOTTOM
    return figure(traces, plain_layout(width=width, height=height, **parts))


def _means(analysis: Analysis, rows: Any, columns: Any, measure: Measure) -> np.ndarray:
    """(rows, columns) in shown units: the mean over the arms at each pair of values; NaN where any has no scores."""
    table = np.full((len(rows["values"]), len(columns["values"])), np.nan)
    for row, left in enumerate(rows["values"]):
        for column, above in enumerate(columns["values"]):
            there = [
                analysis.mean(arm, measure)
                for arm in analysis.results.arms
                if (arm.values.get(rows["name"]), arm.values.get(columns["name"])) == (left["label"], above["label"])
            ]
            known = [mean.mean for mean in there if mean is not None]
            if known and len(known) == len(there):
                table[row, column] = measure.scale * sum(known) / len(known)
    return table


def _map(rows: Any, columns: Any, table: np.ndarray, measure: Measure, *, least_span: float) -> dict[str, Any]:
    shown = [[None if np.isnan(value) else value for value in row] for row in table.tolist()]
    known = table[np.isfinite(table)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    middle, span = (low + high) / 2, max(high - low, least_span)
    return {
        "type": "heatmap",
        "x": [verbatim(_short(value["label"])) for value in columns["values"]],
        "y": [verbatim(_short(value["label"])) for value in rows["values"]],
        "z": shown,
        "text": [["" if value is None else f"{value:.1f}" for value in row] for row in shown],
        "colorscale": "Cividis",  # distinguishable with any colour vision, and in grey
        "zmin": middle - span / 2,
        "zmax": middle + span / 2,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": f"%{{y}}, %{{x}}: %{{text}} {measure.unit}<extra></extra>",
    }


def _numbers(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers in the cells; Plotly's own text would be white on all but the lightest."""
    low, high = cells["zmin"], cells["zmax"]
    known = [
        (column, row, text, "#000000" if (value - low) > _LIGHT * (high - low) else "#ffffff")
        for row, values, texts in zip(cells["y"], cells["z"], cells["text"], strict=True)
        for column, value, text in zip(cells["x"], values, texts, strict=True)
        if value is not None
    ]
    return {
        "type": "scatter",
        "mode": "text",
        "x": [column for column, _, _, _ in known],
        "y": [row for _, row, _, _ in known],
        "text": [text for _, _, text, _ in known],
        "textfont": {"color": [colour for _, _, _, colour in known]},
        "showlegend": False,
        "hoverinfo": "skip",
    }


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
