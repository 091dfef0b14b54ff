"""Three panels of grouped bars in the style of MM1's Fig. 4: one panel per number of shots, one value axis for all.

Where the scores of the panels lie far apart, the axis is broken, as in the paper: two stretches of equal height with a
white gap and slanted strokes between them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.analysis import Analysis
from reports.figures.bars import Bar, Column, bar, column, trace, value_label
from reports.figures.ranges import ValueRange, broken_range
from reports.frame import Arm
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import FIGURE_4, SANS, frame_axis, layout, legend, verbatim

_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 8, 44, 50
_APART = 12
"""Least distance between two labelled ticks on both sides of a break, which keeps their labels apart."""
_GAP = 0.02  # of the panel's height, between the stretches of a broken axis
_MOST_GROUPS = 12
"""Most groups of a figure that the sweep does not ask for."""
_BAR_WIDTH = 0.81  # of a group's bars together, in group pitches


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which arm belongs in which slot, by (series, group). A pair without an arm leaves its slot empty."""

    series: Mapping[str, str]
    """Shown names by value label, in order."""
    groups: Mapping[str, str]
    """Shown names by key, in order; ``<br>`` breaks a line."""
    arms: Mapping[tuple[str, str], Arm]


def has_grid(analysis: Analysis, key: str) -> bool:
    """Whether an axis sets the key, some arms differ in it alone, and the groups are few enough to read."""
    if not any(key in axis["keys"] for axis in analysis.results.plan["axes"]):
        return False
    found = grid(analysis, key=key, names={}, figure_name=key)
    groups = [group for _, group in found.arms]
    return len(groups) > len(found.groups) and len(found.groups) <= _MOST_GROUPS


def grid(analysis: Analysis, *, key: str, names: Mapping[str, str], figure_name: str) -> Grid:
    """Series from the axis that sets ``key``, groups from all other axes together.

    Raises ``ReportError`` where no axis of the sweep sets the key.
    """
    axes = analysis.results.plan["axes"]
    leading = next((axis for axis in axes if key in axis["keys"]), None)
    if leading is None:
        raise ReportError(
            f"the figure {figure_name!r} needs an axis that sets {key}; this sweep's axes are "
            f"{', '.join(axis['name'] for axis in axes) or 'none'}"
        )
    series = {value["label"]: _series_name(value, key, names) for value in leading["values"]}
    groups: dict[str, str] = {}
    labels: dict[str, str] = {}
    arms: dict[tuple[str, str], Arm] = {}
    for arm in analysis.results.arms:
        rest = [arm.values.get(axis["name"], "") for axis in axes if axis is not leading]
        group, own = " ".join(rest), arm.values.get(leading["name"])
        if own is None:
            continue
        groups.setdefault(group, _group_name(arm, rest))
        labels.setdefault(group, ",<br>".join(map(verbatim, rest)))
        arms[own, group] = arm
    if len(set(groups.values())) < len(groups):  # only what the short names leave out distinguishes them
        groups = labels
    return Grid(series=series, groups=groups, arms=arms)


@dataclass(frozen=True, kw_only=True)
class Bars:
    """What the panels show."""

    columns: tuple[Column, ...]
    """One panel each."""
    series: Mapping[str, str]
    """Shown names by key, in order."""
    groups: Mapping[str, str]
    """Shown names by key, in order; ``<br>`` breaks a line."""
    table: Mapping[tuple[str, str, str], Bar]
    """By column label, series and group; every combination is present."""
    styles: Mapping[str, int]
    """Number of the colour and hatch, by series."""
    title: str = ""
    """Shown at the top left; empty for none."""


def panels(analysis: Analysis, grid: Grid) -> Figure:
    """The figure of a sweep. Raises ``ReportError`` where no arm has scores."""
    measures = [measure for measure in analysis.results.headline if measure.key != "eval/text_core"]
    table = {
        (measure.label, series, group): bar(analysis, grid.arms.get((series, group)), measure)
        for measure in measures
        for series in grid.series
        for group in grid.groups
    }
    if all(one.reach is None for one in table.values()):
        raise ReportError("no arm of this figure has scores yet; run the sweep first")
    columns = tuple(map(column, measures))
    styles = {series: number for number, series in enumerate(grid.series)}
    return draw(Bars(columns=columns, series=grid.series, groups=grid.groups, table=table, styles=styles))


def draw(bars: Bars) -> Figure:
    """The figure of bars, at least one of which has a value."""
    columns = bars.columns
    reaches = [one.reach for one in bars.table.values() if one.reach is not None]
    percent = all(one.percent for one in columns)
    stretches = _parted(broken_range(reaches, percent=percent))
    width = len(columns) * (_LEFT + FIGURE_4.plot_width + _RIGHT)
    height = _TOP + FIGURE_4.plot_height + _BOTTOM
    bottom, top = _BOTTOM / height, 1 - _TOP / height
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": [], "shapes": []}
    if bars.title:
        parts["annotations"].append(_title(bars.title))
    for number, shown in enumerate(columns):
        left = number * (_LEFT + FIGURE_4.plot_width + _RIGHT) + _LEFT
        domain = (left / width, (left + FIGURE_4.plot_width) / width)
        parts["annotations"].append(_side_title(shown, domain[0], (bottom + top) / 2))
        for part, (stretch, (low, high)) in enumerate(zip(stretches, _split(bottom, top, len(stretches)), strict=True)):
            suffix = "" if number == part == 0 else str(number * len(stretches) + part + 1)
            first, last = part == 0, part == len(stretches) - 1
            parts[f"xaxis{suffix}"] = _group_axis(bars, domain, suffix, bottom_line=first, top_line=last)
            parts[f"yaxis{suffix}"] = frame_axis(
                domain=(low, high),
                anchor=f"x{suffix}",
                range=[stretch.low, stretch.high],
                tickvals=stretch.ticks,
                ticks="outside",
                ticklen=4,
                tickfont={"size": 12},
            )
            axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
            traces += _traces(bars, shown, axes, in_legend=number == part == 0)
            parts["annotations"] += _labels(bars, shown, axes, stretch, first=first)
            if not last:
                parts["shapes"] += _break_marks(domain, high)
            if not first:
                parts["shapes"] += _break_marks(domain, low)
    box = legend(x=0.5, xanchor="center", y=1 - 6 / height, yanchor="top", xref="container", yref="container")
    margin = {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False}
    return figure(traces, layout(width=width, height=height, margin=margin, legend=box, **parts))


def has_broken_axis(figure: Figure) -> bool:
    """Whether the value axis of a figure of bars is broken: its only shapes are the strokes at the breaks."""
    return bool(figure.layout.shapes)


def _parted(stretches: tuple[ValueRange, ...]) -> tuple[ValueRange, ...]:
    """The stretches, without the tick at one edge of a break where the labels at both edges would overlap."""
    if len(stretches) == 1 or not all(stretch.ticks for stretch in stretches):
        return stretches
    below, above = stretches
    height = FIGURE_4.plot_height * (1 - _GAP) / 2
    apart = FIGURE_4.plot_height * _GAP
    apart += height * (below.high - below.ticks[-1]) / (below.high - below.low)
    apart += height * (above.ticks[0] - above.low) / (above.high - above.low)
    if apart >= _APART:
        return stretches
    if len(below.ticks) > 1:
        return replace(below, ticks=below.ticks[:-1]), above
    return below, replace(above, ticks=above.ticks[1:])


def _rows(bars: Bars, column: Column) -> dict[str, list[Bar]]:
    """The bars by series, in the order of the groups."""
    return {series: [bars.table[column.label, series, group] for group in bars.groups] for series in bars.series}


def _traces(bars: Bars, column: Column, axes: Mapping[str, str], *, in_legend: bool) -> list[dict[str, Any]]:
    groups = [name.replace("<br>", " ") for name in bars.groups.values()]
    return [
        trace(
            row,
            _positions(number, len(bars.series), len(bars.groups)),
            name=bars.series[series],
            series=bars.styles[series],
            width=_BAR_WIDTH / len(bars.series),
            style=FIGURE_4,
            axes=axes,
            unit=column.unit,
            groups=groups,
            in_legend=in_legend,
        )
        for number, (series, row) in enumerate(_rows(bars, column).items())
    ]


def _labels(
    bars: Bars, column: Column, axes: Mapping[str, str], stretch: ValueRange, *, first: bool
) -> list[dict[str, Any]]:
    """Values above the bars that end in this stretch; in the first stretch also the words in empty slots."""
    references = {"xref": axes["xaxis"], "yref": axes["yaxis"]}
    slot = _BAR_WIDTH / len(bars.series) * FIGURE_4.plot_width / (len(bars.groups) - 1 + 2 * FIGURE_4.margin)
    font = {"family": SANS, "size": max(6, min(10, int(slot / 2.9))), "weight": "bold"}
    labels = []
    for number, row in enumerate(_rows(bars, column).values()):
        for one, x in zip(row, _positions(number, len(bars.series), len(bars.groups)), strict=True):
            if one.reach is not None and stretch.holds(one.reach[1]):
                labels.append(value_label(one, x, one.reach[1], rotated=False, font=font, axes=references))
            if one.reach is None and one.note and first:
                labels.append(value_label(one, x, stretch.low, rotated=True, font=font, axes=references))
    return labels


def _positions(series: int, count: int, groups: int) -> list[float]:
    return [group + (series - (count - 1) / 2) * _BAR_WIDTH / count for group in range(groups)]


def _split(bottom: float, top: float, parts: int) -> list[tuple[float, float]]:
    if parts == 1:
        return [(bottom, top)]
    middle, half_gap = (bottom + top) / 2, (top - bottom) * _GAP / 2
    return [(bottom, middle - half_gap), (middle + half_gap, top)]


def _group_axis(
    bars: Bars, domain: tuple[float, float], suffix: str, *, bottom_line: bool, top_line: bool
) -> dict[str, Any]:
    """Groups below the panel; in a broken panel the lower part has bottom line and names, the upper part the top
    line."""
    return frame_axis(
        domain=domain,
        anchor=f"y{suffix}",
        side="bottom" if bottom_line else "top",
        mirror=bottom_line and top_line,
        range=[-FIGURE_4.margin, len(bars.groups) - 1 + FIGURE_4.margin],
        tickvals=list(range(len(bars.groups))),
        ticktext=list(bars.groups.values()),
        showticklabels=bottom_line,
        tickfont={"size": _group_size(bars)},
        tickangle=0,
    )


def _group_size(bars: Bars) -> int:
    """Font size at which the longest line of a group's name fits its place."""
    place = FIGURE_4.plot_width / (len(bars.groups) - 1 + 2 * FIGURE_4.margin)
    letters = max(len(line) for name in bars.groups.values() for line in name.split("<br>"))
    return max(7, min(16 if len(bars.groups) <= 4 else 11, int(place / (0.56 * max(letters, 1)))))


def _title(text: str) -> dict[str, Any]:
    return {
        "text": verbatim(text),
        "x": 0,
        "y": 1,
        "xref": "paper",
        "yref": "paper",
        "xshift": 8,
        "yshift": -6,
        "xanchor": "left",
        "yanchor": "top",
        "showarrow": False,
        "font": {"size": 18},
    }


def _side_title(column: Column, x: float, y: float) -> dict[str, Any]:
    return {
        "text": verbatim(column.label),
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xshift": -44,
        "xanchor": "center",
        "yanchor": "middle",
        "textangle": -90,
        "showarrow": False,
        "font": {"size": 20},
    }


def _break_marks(domain: tuple[float, float], y: float) -> list[dict[str, Any]]:
    """A short slanted stroke over the frame at both sides of the panel."""
    return [
        {
            "type": "line",
            "xref": "paper",
            "yref": "paper",
            "xsizemode": "pixel",
            "ysizemode": "pixel",
            "xanchor": x,
            "yanchor": y,
            "x0": -5,
            "x1": 5,
            "y0": -3,
            "y1": 3,
            "line": {"color": "#000000", "width": 1},
        }
        for x in domain
    ]


def _series_name(value: Mapping[str, Any], key: str, names: Mapping[str, str]) -> str:
    label = str(value["label"])
    setting = str(value["set"][key])
    return names.get(setting, setting) if label == setting else label


def _group_name(arm: Arm, rest: Sequence[str]) -> str:
    """``224px,`` over ``64tks`` from what the arm sets; else the labels of its values."""
    resolution, tokens = arm.settings.get("image.resolution"), arm.settings.get("connector.num_tokens")
    lines = [f"{resolution}px" if resolution is not None else "", f"{tokens}tks" if tokens is not None else ""]
    lines = [line for line in lines if line]
    if len(lines) + 1 < len(rest) or not lines:  # further axes: their labels say more
        lines = [verbatim(label) for label in rest]
    return ",<br>".join(lines)
