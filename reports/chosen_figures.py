"""Which figures a report has, with their captions, and the paper's own beside them.

The paper's layouts are included automatically where the sweep has their axes, unless its ``figures`` chooses among
them; a figure that was asked for but cannot be drawn says why.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reports.analysis import Analysis
from reports.figures.connector import connector, has_connectors
from reports.figures.cost import cost, has_cost
from reports.figures.data_mix import data_mix, has_mixes
from reports.figures.effects import MOST_ROWS, effects
from reports.figures.encoder import encoder, has_encoders
from reports.figures.interaction import crossed_pairs, interaction
from reports.figures.learning import MOST_ARMS, learning
from reports.figures.learning_rate import has_rates, learning_rate
from reports.figures.learning_rate_published import learning_rate_published
from reports.figures.panels import has_broken_axis
from reports.figures.published import published_curves, published_figure
from reports.figures.steps import MOST_ARMS as MOST_SCORED
from reports.figures.steps import has_steps, steps
from reports.figures.tasks import MOST_ARMS as MOST_TASK_ARMS
from reports.figures.tasks import tasks
from reports.figures.trend import MOST_LINES, number_axes, trend
from reports.page import PageFigure
from reports.paper.beside import Beside
from reports.plot import Figure
from reports.records import ReportError
from reports.task_grid import leading_measures


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A figure that a report may have."""

    draw: Callable[[Analysis], Figure]
    fits: Callable[[Analysis], bool]
    """Whether it is included without being asked for."""
    caption: str
    adapts: bool = True
    """Whether it takes the page's colours; those in the paper's style stay black on white."""
    breaks: bool = False
    """Whether its value axis may be broken."""


_BARS = (
    " Error bars: 95 % intervals over seeds and items, cut at the ends of the scale; none with a single seed. "
    "* fewer seeds than planned. An empty slot is an arm without scores, or no arm."
)
_BROKEN = " The value axis is broken where the scores leave a gap."
_PAPERS: dict[str, _Kind] = {
    "connector": _Kind(
        draw=connector,
        fits=has_connectors,
        caption="Connectors in the layout of MM1's Fig. 4." + _BARS,
        adapts=False,
        breaks=True,
    ),
    "data_mix": _Kind(
        draw=data_mix,
        fits=has_mixes,
        caption="Data mixes in the layout of MM1's Fig. 5; all other axes at their reference." + _BARS,
        adapts=False,
    ),
    "encoder": _Kind(
        draw=encoder,
        fits=has_encoders,
        caption="Image encoders by pre-training objective, in the layout of MM1's Fig. 4." + _BARS,
        adapts=False,
        breaks=True,
    ),
    "learning_rate": _Kind(
        draw=learning_rate,
        fits=has_rates,
        caption=(
            "Peak learning rates by the size of the decoder, after MM1's Fig. 6. Left: the scores of every rate, with "
            "95 % intervals. Right: of each size and seed the rate with the best score (open: at the edge of what was "
            "tried, not fitted), the power law through them, and its 95 % interval for one more training."
        ),
        adapts=False,
    ),
}
_OTHERS: dict[str, _Kind] = {
    "effects": _Kind(
        draw=effects,
        fits=lambda _: True,
        caption=(
            "Effect of each value of each axis, paired by seed and item. The bars are 95 % intervals, the grey band is "
            "the margin. Within the margin is decided by the 90 % interval (two one-sided tests at 5 %), so the bar of "
            f"such an effect may reach a little beyond the band. At most {MOST_ROWS} rows; the table has all."
        ),
    ),
    "tasks": _Kind(
        draw=tasks,
        fits=lambda analysis: len(leading_measures(analysis)) > 1,
        caption=(
            "Every task by itself: its leading metric at each number of shots, with 95 % intervals. The baseline (†) "
            f"and the first arms, at most {MOST_TASK_ARMS}; the table of tasks has all."
        ),
    ),
    "learning": _Kind(
        draw=learning,
        fits=lambda _: True,
        caption=(
            "Loss of training by step: the mean over the seeds, and their range. Losses on different data are not "
            f"comparable. The baseline (†) and the first arms, at most {MOST_ARMS}; a click on the legend hides a line."
        ),
    ),
    "steps": _Kind(
        draw=steps,
        fits=has_steps,
        caption=(
            "Scores on validation items by step of training, after MM1's Fig. 7c: the mean over the seeds, and their "
            f"range. The baseline (†) and the first arms, at most {MOST_SCORED}."
        ),
        adapts=False,
    ),
    "trend": _Kind(
        draw=trend,
        fits=lambda analysis: bool(number_axes(analysis)),
        caption=(
            "Scores along each axis of numbers, after MM1's Fig. 7b and 7c, with 95 % intervals. A line joins arms "
            f"that are alike in all else, the baseline's first, at most {MOST_LINES}."
        ),
        adapts=False,
    ),
    "interaction": _Kind(
        draw=interaction,
        fits=lambda analysis: bool(crossed_pairs(analysis)),
        caption=(
            "Mean scores by the values of two axes, over all else that the arms have there. Where the columns "
            "differ by the same in every row, the effects add up. The table of interactions has the intervals."
        ),
    ),
    "cost": _Kind(
        draw=cost,
        fits=has_cost,
        caption=(
            "Scores against what a training takes, its encoder's included: operations as the plan computes them, and "
            "hours as the records have them, mean over the seeds; 95 % intervals. The line joins the arms that no "
            "cheaper arm beats in the mean: where intervals overlap, chance may have ordered them."
        ),
    ),
}


def chosen_figures(analysis: Analysis, beside: Beside) -> list[PageFigure]:
    """The paper's figures that the sweep chooses, or else has the axes for, and all other figures that fit it."""
    asked = list(dict.fromkeys(analysis.results.plan["figures"]))
    figures = []
    for name in asked or [name for name, kind in _PAPERS.items() if kind.fits(analysis)]:
        if name in _PAPERS:
            figures.append(_drawn(analysis, name, _PAPERS[name]))
        else:
            problem = f"no figure has this name; known are {', '.join(_PAPERS)}"
            figures.append(PageFigure(name=name, caption="", figure=None, problem=problem))
    figures += [_drawn(analysis, name, kind) for name, kind in _OTHERS.items() if kind.fits(analysis)]
    return [_with_published(analysis, figure, beside) for figure in figures]


def _drawn(analysis: Analysis, name: str, kind: _Kind) -> PageFigure:
    try:
        figure = kind.draw(analysis)
    except ReportError as error:
        return PageFigure(name=name, caption="", figure=None, problem=str(error))
    caption = kind.caption + (_BROKEN if kind.breaks and has_broken_axis(figure) else "")
    return PageFigure(name=name, caption=caption, figure=figure, adapts=kind.adapts)


def _with_published(analysis: Analysis, figure: PageFigure, beside: Beside) -> PageFigure:
    """The figure with what the paper published in the same layout, if anything."""
    if figure.figure is None:
        return figure
    published = beside.published
    if figure.name == "learning_rate":
        rule = published.learning_rate
        caption = (
            "The rule of MM1 (published), dotted outside what it was fitted to; the points and the black line are this "
            f"sweep's. {rule.provenance}"
        )
        return replace(figure, published=learning_rate_published(analysis, rule), published_caption=caption)
    if figure.name in ("steps", "trend"):
        keys = {axis["keys"][0] for axis in number_axes(analysis)} if figure.name == "trend" else {"training.steps"}
        curves = [curve for curve in published.curves if curve.key in keys]
        drawn = published_curves(curves) if curves else None
        return replace(figure, published=drawn, published_caption=_caption([curve.provenance for curve in curves]))
    blocks = [block for block in published.blocks if block.figure == figure.name]
    if not blocks:
        return figure
    # of Fig. 5 only the panels that the sweep repeats, if any; else all
    shown = [block for block in blocks if block in beside.repeated] or blocks
    drawn = published_figure(shown, beside=[trace.name for trace in figure.figure.data if trace.showlegend])
    return replace(figure, published=drawn, published_caption=_caption([block.provenance for block in shown]))


def _caption(provenances: Sequence[str]) -> str:
    read = " ".join(dict.fromkeys(provenances))
    unlike = "No intervals were published; the value axes differ from those above."
    return f"MM1 (published), not from this sweep. {read} {unlike}"
