"""Peak learning rates by the size of the decoder, as in MM1's Fig. 6: the scores of every rate tried, and the best rate
of each size and seed with the power law through these, log-log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

from reports.analysis import Analysis
from reports.figures.ranges import decades
from reports.frame import Arm, Measure
from reports.plot import Figure, figure
from reports.records import ReportError
from reports.scaling import Best, PowerLaw, best_rates, by_size, chosen_by, power_law, rate_axis, rate_key
from reports.style import OKABE_ITO, SERIF, frame_axis, layout, legend, verbatim

BEYOND = 10.0
"""The line is drawn up to this many times the largest size."""
SIZES_ARE = "parameters of the decoder, without embeddings"
_LEFT, _PANEL, _BETWEEN, _RIGHT, _TOP, _PLOT, _BOTTOM = 62, 360, 84, 16, 74, 220, 56
_FEW = 6
"""Most values that are labelled one by one on their axis."""
_MOST_BESIDE_BAND = 4
"""Most sizes beside which the legend's one line has room for the name of the band."""
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def has_rates(analysis: Analysis) -> bool:
    """Whether the sweep compares rates at several sizes, and nothing else."""
    axis, measure = rate_axis(analysis.results), chosen_by(analysis.results)
    if axis is None or measure is None:
        return False
    tried = by_size(analysis.results, axis)
    return len(tried) > 1 and all(1 < len({rate for rate, _ in arms}) == len(arms) for arms in tried.values())


def learning_rate(analysis: Analysis) -> Figure:
    """The figure. Raises ``ReportError`` where the sweep has no rates to compare."""
    axis, measure = rate_axis(analysis.results), chosen_by(analysis.results)
    if axis is None or measure is None:
        raise ReportError("no axis sets a learning rate, or no arm has scores")
    tried = by_size(analysis.results, axis)
    if not tried:
        raise ReportError("no arm sets a learning rate that is a number")
    for arms in tried.values():
        if len({rate for rate, _ in arms}) < len(arms):
            raise ReportError("besides the learning rate and the decoder's size something else varies")
    points = best_rates(analysis.results, axis, measure)
    law = power_law(points)
    width, height = _LEFT + 2 * _PANEL + _BETWEEN + _RIGHT, _TOP + _PLOT + _BOTTOM
    domains = (
        (_LEFT / width, (_LEFT + _PANEL) / width),
        ((_LEFT + _PANEL + _BETWEEN) / width, (width - _RIGHT) / width),
    )
    vertical = (_BOTTOM / height, (_BOTTOM + _PLOT) / height)
    rates = [rate for arms in tried.values() for rate, _ in arms]
    sizes = [size * factor for size in tried for factor in (1 / 1.6, 1.0, 1.6 * (BEYOND if law else 1.0))]
    lines = law_lines(law, min(tried), max(tried), band_named=len(tried) <= _MOST_BESIDE_BAND)
    everywhere = [*rates, *(rate for line in lines for rate in line["y"])]
    small = {"font": {"family": SERIF, "size": 15}, "standoff": 4}
    return figure(
        [
            *(
                trace | {"xaxis": "x", "yaxis": "y"}
                for number, arms in enumerate(tried.items())
                for trace in _scores(analysis, measure, number, *arms)
            ),
            *(trace | {"xaxis": "x2", "yaxis": "y2"} for trace in (*lines, *best_points(points, list(tried)))),
        ],
        layout(
            width=width,
            height=height,
            margin={"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False},
            xaxis=frame_axis(
                domain=domains[0], anchor="y", title={"text": verbatim(rate_word(axis)), **small}, **rate_decades(rates)
            ),
            yaxis=frame_axis(
                domain=vertical,
                anchor="x",
                title={"text": f"{verbatim(measure.label)} ({measure.unit})", **small},
            ),
            xaxis2=frame_axis(
                domain=domains[1],
                anchor="y2",
                title={"text": SIZES_ARE, **small},
                **rate_decades(sizes),
            ),
            yaxis2=frame_axis(
                domain=vertical,
                anchor="x2",
                title={"text": f"best {verbatim(rate_word(axis))}", **small},
                **rate_decades(everywhere),
            ),
            legend=legend(
                x=0.5,
                xanchor="center",
                y=1 - 6 / height,
                yanchor="top",
                title={"text": "parameters ", "side": "left", "font": {"size": 13}},
            ),
            annotations=[_formula(law, points, domains[1], vertical[1])],
        ),
    )


def rate_word(axis: Mapping[str, Any]) -> str:
    return "peak learning rate" + (" of matrices" if "matrix" in rate_key(dict(axis)) else "")


def _scores(
    analysis: Analysis, measure: Measure, number: int, size: int, tried: Sequence[tuple[float, Arm]]
) -> list[dict[str, Any]]:
    known = [(rate, mean) for rate, arm in tried if (mean := analysis.mean(arm, measure)) is not None]
    colour = OKABE_ITO[number % len(OKABE_ITO)]
    scale = measure.scale
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": _number(size),
            "x": [rate for rate, _ in known],
            "y": [mean.mean * scale for _, mean in known],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [(mean.high - mean.mean) * scale for _, mean in known],
                "arrayminus": [(mean.mean - mean.low) * scale for _, mean in known],
                "color": colour,
                "thickness": 1.0,
                "width": 3,
            },
            "line": {"color": colour, "width": 1.5},
            "marker": {"color": colour, "symbol": _SYMBOLS[number % len(_SYMBOLS)], "size": 7},
            "hovertemplate": "%{x:.3g}: %{y:.1f}<extra>%{fullData.name}</extra>",
        }
    ]


def best_points(points: Sequence[Best], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """A point for each size and best rate; larger where several seeds agree, open at an edge of what was tried."""
    traces = []
    for number, size in enumerate(sizes):
        found = Counter((point.rate, point.edge) for point in points if point.size == size)
        symbol, colour = _SYMBOLS[number % len(_SYMBOLS)], OKABE_ITO[number % len(OKABE_ITO)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "showlegend": False,
                "x": [size] * len(found),
                "y": [rate for rate, _ in found],
                "marker": {
                    "color": colour,
                    "symbol": [f"{symbol}-open" if edge else symbol for _, edge in found],
                    "size": [7 + 2 * count for count in found.values()],
                    "line": {"width": 1.5, "color": colour},
                    "opacity": 1.0,  # Plotly's default for markers of several sizes is lower, with white edges
                },
                "hovertext": [
                    f"{rate:.3g}: best of {count} seed{'s' if count > 1 else ''}"
                    + (", at the edge of what was tried" if edge else "")
                    for (rate, edge), count in found.items()
                ],
                "hoverinfo": "text",
            }
        )
    return traces


def law_lines(
    law: PowerLaw | None, smallest: float, largest: float, *, band_named: bool = True
) -> list[dict[str, Any]]:
    """The fitted law with its interval, from a little below the smallest size to ``BEYOND`` times the largest.

    ``band_named``: whether the legend has the interval.
    """
    if law is None:
        return []
    sizes = spread(smallest / 1.4, largest * BEYOND)
    bands = [law.interval(size) for size in sizes]
    band = {
        "type": "scatter",
        "mode": "lines",
        "name": "95 % interval of one more training",
        "showlegend": band_named,
        "legendrank": 1001,  # last in the legend, though drawn first
        "x": [*sizes, *reversed(sizes)],
        "y": [*(upper for _, upper in bands), *(lower for lower, _ in reversed(bands))],
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": "rgba(0,0,0,0.10)",
        "hoverinfo": "skip",
    }
    return [band, law_line("fitted", sizes, [law.rate(size) for size in sizes])]


def law_line(name: str, sizes: Sequence[float], rates: Sequence[float], *, dash: str = "solid") -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": sizes,
        "y": rates,
        "line": {"color": "#000000", "width": 1.5, "dash": dash},
        "hovertemplate": "%{x:.3g} parameters: %{y:.3g}<extra>%{fullData.name}</extra>",
    }


def spread(low: float, high: float) -> list[float]:
    """Sizes at equal ratios."""
    start, end = log(low), log(high)
    return [exp(start + (end - start) * step / 40) for step in range(41)]


def _formula(law: PowerLaw | None, points: Sequence[Best], domain: tuple[float, float], top: float) -> dict[str, Any]:
    edges = sum(point.edge for point in points)
    left_out = f"; {edges} at an edge left out" if edges else ""
    if law is None:
        text = f"no line: too few best rates inside what was tried{left_out}"
    else:
        text = (
            f"exp({law.slope:.2f} ln N {'+' if law.intercept >= 0 else '−'} {abs(law.intercept):.2f}), slope "
            f"{law.slope_low:.2f} to {law.slope_high:.2f}; {law.points} points{left_out}"
        )
    return {
        "text": text.replace("(-", "(−").replace(" -", " −"),
        "x": sum(domain) / 2,
        "y": top + 0.008,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "center",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"family": SERIF, "size": 13},
    }


def rate_decades(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis over all values, with ticks at the values themselves if they are few."""
    shown, given = decades(values), sorted(set(values))
    ticks = given if len(given) <= _FEW else shown.ticks
    return {
        "type": "log",
        "range": (shown.low, shown.high),
        "tickvals": ticks,
        "ticktext": [_number(tick) for tick in ticks],
    }


def _number(value: float) -> str:
    """Short, as on the paper's axes."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:g}"
