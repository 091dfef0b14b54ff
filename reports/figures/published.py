"""The paper's own figures from its published numbers, drawn like a sweep's and shown beside them, never mixed in."""

from collections.abc import Sequence

from reports.figures.bars import Bar, Column
from reports.figures.data_mix import Mix, mixes
from reports.figures.lines import Line, Panel, Strip, draw_lines
from reports.figures.panels import Bars, draw
from reports.figures.trend import RESOLUTION
from reports.paper.published import Block, PublishedCurve
from reports.plot import Figure

MARK = "MM1 (published)"
"""Appears in every one of these figures."""


def published_figure(blocks: Sequence[Block], *, beside: Sequence[str]) -> Figure:
    """The blocks in one figure: the panels of Fig. 5, or the one table or figure that has the layout of Fig. 4.

    ``beside`` are the series of the figure that it is shown beside: series of the same name get the same colour.
    """
    if blocks[0].figure == "data_mix":
        return mixes([_mix(block) for block in blocks])
    return draw(_bars(blocks[0], beside))


def published_curves(curves: Sequence[PublishedCurve]) -> Figure:
    """Lines of the paper's Fig. 7, one below the other."""
    return draw_lines(
        [
            Strip(
                label=curve.label,
                logarithmic=curve.key == RESOLUTION,
                named=curve.key == RESOLUTION,
                panels=[
                    Panel(
                        title=f"{MARK}, {curve.source}",
                        unit="",
                        vertical=curve.vertical,
                        lines=[Line(name="", x=list(curve.points), y=list(curve.points.values()), low=(), high=())],
                    )
                ],
            )
            for curve in curves
        ]
    )


def _mix(block: Block) -> Mix:
    return Mix(
        title=f"{MARK}, {block.source}: {block.title}",
        columns=_columns(block),
        names=tuple(setting.series for setting in block.settings),
        bars=tuple([_bar(setting.scores[column]) for column in block.columns] for setting in block.settings),
    )


def _bars(block: Block, beside: Sequence[str]) -> Bars:
    drawn = {(setting.series, setting.group): setting for setting in block.settings if setting.series}
    series = dict.fromkeys(series for series, _ in drawn)
    groups = dict.fromkeys(group for _, group in drawn)
    empty = Bar(value=None, low=None, high=None, note="not published")
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*beside, *series]))}
    return Bars(
        columns=_columns(block),
        series={name: name for name in series},
        groups={name: name.replace(",", ",<br>") for name in groups},
        table={
            (column, *place): _bar(drawn[place].scores[column]) if place in drawn else empty
            for column in block.columns
            for place in ((name, group) for name in series for group in groups)
        },
        styles={name: numbers[name] for name in series},
        title=f"{MARK}, {block.source}",
    )


def _columns(block: Block) -> tuple[Column, ...]:
    return tuple(Column(label=column, unit="%") for column in block.columns)


def _bar(value: float) -> Bar:
    return Bar(value=value, low=None, high=None, note="")
