"""Scores along an axis of numbers, as in MM1's Fig. 7b and 7c: a row for each such axis, a panel for each headline
measure, a line through the arms that are alike on all other axes."""

from collections.abc import Mapping
from typing import Any

from reports.analysis import Analysis
from reports.figures.lines import Line, Panel, Strip, draw_lines
from reports.frame import Arm, Measure
from reports.plot import Figure
from reports.records import ReportError
from reports.statistics import Estimate

LEAST_VALUES = 3
MOST_AXES, MOST_LINES = 3, 7
RESOLUTION = "image.resolution"
"""Always on a logarithmic axis, as in the paper, however few values there are."""
_LABELS = {RESOLUTION: "Image resolution", "training.steps": "Pre-training step"}
"""As the paper writes them."""


def number_axes(analysis: Analysis) -> list[Mapping[str, Any]]:
    """Axes along which arms that are alike in all else have scores at ``LEAST_VALUES`` numbers or more."""
    axes = analysis.results.plan["axes"]
    return [axis for axis in axes if any(_lines(analysis, axis, one) for one in analysis.results.headline)][:MOST_AXES]


def trend(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where there is no such axis of numbers."""
    axes = number_axes(analysis)
    if not axes:
        raise ReportError(f"no axis has scores at {LEAST_VALUES} numbers or more")
    return draw_lines([_strip(analysis, axis) for axis in axes])


def _strip(analysis: Analysis, axis: Mapping[str, Any]) -> Strip:
    key = axis["keys"][0]
    return Strip(
        label=_LABELS.get(key, key),
        logarithmic=key == RESOLUTION,
        panels=[
            Panel(title=measure.label, unit=measure.unit, lines=_lines(analysis, axis, measure))
            for measure in analysis.results.headline
        ],
    )


def _lines(analysis: Analysis, axis: Mapping[str, Any], measure: Measure) -> list[Line]:
    """At most ``MOST_LINES`` lines, the baseline's first."""
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
    lines = []
    for others, points in ordered[:MOST_LINES]:
        known = sorted(((value, mean) for value, mean, _ in points), key=lambda point: point[0])
        lines.append(
            Line(
                name=", ".join(f"{name.rpartition('.')[2]}={label}" for name, label in others if name in telling),
                x=[value for value, _ in known],
                y=[mean.mean * measure.scale for _, mean in known],
                low=[mean.low * measure.scale for _, mean in known],
                high=[mean.high * measure.scale for _, mean in known],
            )
        )
    return lines


def _number(arm: Arm, axis: Mapping[str, Any]) -> float | None:
    """Where an arm is on the axis: the first of the axis' keys counts."""
    value = arm.settings.get(axis["keys"][0]) if axis["keys"] else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
