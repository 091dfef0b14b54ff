"""The data figure in the style of MM1's Fig. 5: TextCore, 0-shot, 4-shot, 8-shot in groups, one series per setting.

One sweep is one panel; ``data_mix_grid`` puts several side by side, as the paper does with its four.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.analysis import Analysis, reference_values
from reports.figures.bars import Bar, Column, bar, column, trace, value_label
from reports.figures.ranges import ValueRange, full_range
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.style import FIGURE_5, GRID, SERIF, TICK, bar_width, frame_axis, layout, legend, verbatim

_LEFT, _RIGHT, _BOTTOM = 72, 14, 74
_ROW = 20  # height of a legend row
_MOST_SERIES = 7
"""Most series of a figure that the sweep does not ask for."""
_LABEL = 42  # height of a rotated value label with its star
_TITLE_SIZES = (18, 13)
"""Largest and smallest font size of a panel's title."""
_TITLE_LETTER = 0.54
"""Width of its letters over its font size."""


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What one panel shows."""

    title: str
    letter: str = ""
    """Its letter where there are several panels."""
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    bars: tuple[Sequence[Bar], ...]
    """For each name, one bar per column."""


def data_mix(analysis: Analysis) -> Figure:
    """One panel. Raises ``ReportError`` where no arm has scores."""
    return data_mix_grid([analysis])


def has_mixes(analysis: Analysis) -> bool:
    """Whether the sweep compares mixes of the data."""
    return _mix_axis(analysis) is not None and 1 < len(_series(analysis)[0]) <= _MOST_SERIES


def data_mix_grid(analyses: Sequence[Analysis]) -> Figure:
    """One panel per sweep, lettered where there are several. Raises ``ReportError`` where one has no scores."""
    contents = [_mix(analysis) for analysis in analyses]
    if len(contents) > 1:
        contents = [replace(content, letter=chr(ord("a") + index)) for index, content in enumerate(contents)]
    return mixes(contents)


def mixes(contents: Sequence[Mix]) -> Figure:
    """Two panels in a row, titled below, all with the same range of values."""
    columns = min(2, len(contents))
    rows = -(-len(contents) // columns)
    boxes = [_Legend(content.names) for content in contents]
    top_margin = max(box.above for box in boxes)
    values = full_range(
        [one.reach for content in contents for row in content.bars for one in row if one.reach is not None],
        percent=all(one.percent for content in contents for one in content.columns),
        headroom=(_LABEL + max(box.inside for box in boxes)) / FIGURE_5.plot_height,
    )
    width = columns * (_LEFT + FIGURE_5.plot_width + _RIGHT)
    height = rows * (top_margin + FIGURE_5.plot_height + _BOTTOM)
    traces: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"annotations": []}
    for index, content in enumerate(contents):
        row, place = divmod(index, columns)
        left = place * (_LEFT + FIGURE_5.plot_width + _RIGHT) + _LEFT
        top = row * (top_margin + FIGURE_5.plot_height + _BOTTOM) + top_margin
        panel = _Panel(
            content=content,
            box=boxes[index],
            values=values,
            suffix="" if index == 0 else str(index + 1),
            x_domain=(left / width, (left + FIGURE_5.plot_width) / width),
            y_domain=(1 - (top + FIGURE_5.plot_height) / height, 1 - top / height),
        )
        traces += panel.traces
        parts["annotations"] += panel.annotations
        parts |= panel.layout
    margin = {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False}
    return figure(traces, layout(width=width, height=height, margin=margin, **parts))


class _Panel:
    """The traces, axes, legend and annotations of one panel; ``suffix`` numbers its axes and legend."""

    def __init__(
        self,
        *,
        content: Mix,
        box: "_Legend",
        values: ValueRange,
        suffix: str,
        x_domain: tuple[float, float],
        y_domain: tuple[float, float],
    ) -> None:
        columns, names, bars = content.columns, content.names, content.bars
        width = bar_width(len(bars))
        self.traces, self.annotations = [], []
        for number, (row, name) in enumerate(zip(bars, names, strict=True)):
            positions = [group + (number - (len(bars) - 1) / 2) * width for group in range(len(columns))]
            series = trace(
                row,
                positions,
                name=name,
                series=number,
                width=width,
                style=FIGURE_5,
                axes={"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"},
                unit=columns[0].unit,
                groups=[one.label for one in columns],
                in_legend=True,
            )
            self.traces.append({**series, "legend": f"legend{suffix}", "legendgroup": box.group(number)})
            for one, x in zip(row, positions, strict=True):
                self.annotations.append(
                    value_label(
                        one,
                        x,
                        values.low if one.reach is None else one.reach[1],
                        rotated=True,
                        font={"family": SERIF, "size": _label_size(width)},
                        axes={"xref": f"x{suffix}", "yref": f"y{suffix}"},
                    )
                )
        self.annotations.append(
            {
                "x": (x_domain[0] + x_domain[1]) / 2,
                "y": y_domain[0],
                "xref": "paper",
                "yref": "paper",
                "yshift": -62,
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
                **_title(content),
            }
        )
        self.layout = {
            f"xaxis{suffix}": frame_axis(
                domain=x_domain,
                anchor=f"y{suffix}",
                range=[-FIGURE_5.margin, len(columns) - 1 + FIGURE_5.margin],
                tickvals=list(range(len(columns))),
                ticktext=[one.label for one in columns],
                tickfont={"size": 17},
            ),
            f"yaxis{suffix}": frame_axis(
                domain=y_domain,
                anchor=f"x{suffix}",
                range=[values.low, values.high],
                tickvals=values.ticks,
                ticks="inside",
                tickcolor=TICK,
                ticklen=5,
                mirror="ticks",
                showgrid=True,
                gridcolor=GRID,
                gridwidth=1,
                tickfont={"size": 15},
                title={"text": "Average Performance", "font": {"size": 19}, "standoff": 8},
            ),
            f"legend{suffix}": box.layout((x_domain[0] + x_domain[1]) / 2, y_domain[1]),
        }


def _title(content: Mix) -> dict[str, Any]:
    """A panel's title and its font: as small as it must be to fit, and cut where even the smallest does not."""
    letter = f"<b>({content.letter})</b> " if content.letter else ""
    largest, smallest = _TITLE_SIZES
    taken = 4 if letter else 0
    # centred below the plot, which is closer to the right edge than to the left
    room = (FIGURE_5.plot_width + 2 * _RIGHT) / _TITLE_LETTER
    most, title = int(room / smallest) - taken, content.title
    if len(title) > most:
        title = f"{title[: most - 1].rstrip()}…"
    size = max(smallest, min(largest, int(room / max(1, len(title) + taken))))
    return {"text": letter + verbatim(title), "font": {"family": SERIF, "size": size}}


def _mix(analysis: Analysis) -> Mix:
    arms, names = _series(analysis)
    measures = _groups(analysis, arms)
    return Mix(
        title=str(analysis.results.plan["title"]),
        columns=tuple(map(column, measures)),
        names=tuple(names),
        bars=tuple([bar(analysis, arm, measure) for measure in measures] for arm in arms),
    )


def _groups(analysis: Analysis, arms: Sequence[Arm]) -> list[Measure]:
    """The headline measures with TextCore first, as the paper orders them."""
    measures = [
        measure
        for measure in analysis.results.headline
        if any((arm.key, measure.key) in analysis.means for arm in arms)
    ]
    if not measures:
        raise ReportError("the data-mix figure needs at least one scored trial; run the sweep first")
    return sorted(measures, key=lambda measure: measure.key != "eval/text_core")


def _series(analysis: Analysis) -> tuple[list[Arm], list[str]]:
    """The arms and their names. With a single axis, or one that sets the mix: the arms that have all other axes at
    their reference, ordered and named by its values. Otherwise all arms."""
    axes = analysis.results.plan["axes"]
    arms = list(analysis.results.arms)
    axis = axes[0] if len(axes) == 1 else _mix_axis(analysis)
    if axis is None:
        return arms, [arm.label for arm in arms]
    name = axis["name"]
    others = {other: value for other, value in reference_values(analysis.results).items() if other != name}
    arms = [arm for arm in arms if all(arm.values.get(other) == value for other, value in others.items())]
    order = [value["label"] for value in axis["values"]]
    arms.sort(key=lambda arm: order.index(arm.values[name]) if arm.values.get(name) in order else len(order))
    return arms, [arm.values.get(name, arm.label) for arm in arms]


def _mix_axis(analysis: Analysis) -> dict[str, Any] | None:
    """The axis that sets the mix of the data."""
    return next((axis for axis in analysis.results.plan["axes"] if "data.mix" in axis["keys"]), None)


class _Legend:
    """Where the entries of a panel's legend stand: in one row if they fit, else in columns, such as the paper's 2 x 2.

    Up to two rows overlap the upper frame line as in the paper; more stand above it.
    """

    def __init__(self, names: Sequence[str]) -> None:
        widths = [44 + 6.5 * len(name) for name in names]
        self.columns = len(names)
        while self.columns > 1 and self._width(widths) > 0.85 * FIGURE_5.plot_width:
            self.columns = -(-len(names) // 2) if self.columns == len(names) else self.columns - 1
        self.rows = -(-len(names) // self.columns)
        height = _ROW * self.rows + 8
        self.inside = height // 2 if self.rows <= 2 else 0
        self.above = height - self.inside + 6

    def _width(self, widths: Sequence[float]) -> float:
        return sum(max(widths[column :: self.columns]) for column in range(self.columns))

    def group(self, number: int) -> str:
        """Plotly stacks the entries of a group and puts groups side by side, so a group is a column."""
        return "" if self.rows == 1 else str(number % self.columns)

    def layout(self, x: float, y: float) -> dict[str, Any]:
        anchor = "middle" if self.inside else "bottom"
        return legend(x=x, xanchor="center", y=y, yanchor=anchor, tracegroupgap=0)


def _label_size(width: float) -> int:
    """Font size that keeps a rotated number within its bar."""
    return max(7, min(14, int(width * FIGURE_5.plot_width / 4.5)))
