"""The paper's rule for learning rates in one plot with a sweep's best rates, which shows how far apart the sizes
are."""

from typing import Any

from reports.analysis import Analysis
from reports.figures.learning_rate import (
    SIZES_ARE,
    best_points,
    law_line,
    law_lines,
    rate_decades,
    rate_word,
    spread,
)
from reports.figures.published import MARK
from reports.paper.published import Rule
from reports.plot import Figure, figure
from reports.scaling import best_rates, by_size, chosen_by, power_law, rate_axis
from reports.style import SERIF, frame_axis, layout, legend

_COLOUR = "#b60000"
_LEFT, _PANEL, _RIGHT, _TOP, _PLOT, _BOTTOM = 88, 560, 16, 44, 260, 56


def learning_rate_published(analysis: Analysis, rule: Rule) -> Figure | None:
    """The figure, or ``None`` where the sweep has no rates to compare."""
    axis, measure = rate_axis(analysis.results), chosen_by(analysis.results)
    if axis is None or measure is None:
        return None
    tried = by_size(analysis.results, axis)
    points = best_rates(analysis.results, axis, measure)
    ours = law_lines(power_law(points), min(tried), max(tried))
    traces = [*ours, *best_points(points, list(tried)), *_rule(rule, min(tried))]
    width, height = _LEFT + _PANEL + _RIGHT, _TOP + _PLOT + _BOTTOM
    small = {"font": {"family": SERIF, "size": 15}, "standoff": 4}
    return figure(
        traces,
        layout(
            width=width,
            height=height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False},
            xaxis=frame_axis(
                domain=(_LEFT / width, 1 - _RIGHT / width),
                title={"text": SIZES_ARE, **small},
                **rate_decades([size for trace in traces for size in trace["x"]]),
            ),
            yaxis=frame_axis(
                domain=(_BOTTOM / height, 1 - _TOP / height),
                title={"text": f"best {rate_word(axis)}", **small},
                **rate_decades([rate for trace in traces for rate in trace["y"]]),
            ),
            legend=legend(x=0.5, xanchor="center", y=1 - 6 / height, yanchor="top"),
        ),
    )


def _rule(rule: Rule, smallest: float) -> list[dict[str, Any]]:
    """The rule: solid where the paper fitted it, dotted down to our sizes and up to the paper's largest model."""
    low, high = rule.fitted
    lines = []
    for ends, dash in [((low, high), "solid"), ((min(smallest, low), low), "dot"), ((high, rule.largest), "dot")]:
        sizes = spread(*ends)
        line = law_line(MARK, sizes, [rule.rate(size) for size in sizes], dash=dash)
        colour = {"line": line["line"] | {"color": _COLOUR}}
        lines.append(line | colour | {"showlegend": dash == "solid"})
    return lines
