"""Scores by training step, as in MM1's Fig. 7c: on validation items, as far as trainings took them along the way."""

from reports.analysis import Analysis
from reports.curves import Curve, score_curves
from reports.figures.lines import Line, Panel, Strip, draw_lines
from reports.frame import Measure
from reports.plot import Figure
from reports.records import ReportError

MOST_ARMS = 7


def has_steps(analysis: Analysis) -> bool:
    """Whether any training was scored along the way."""
    return bool(score_curves(analysis.results, most=1))


def steps(analysis: Analysis) -> Figure:
    """The figure, the baseline's line first. Raises ``ReportError`` where no training was scored along the way."""
    results = analysis.results
    found = score_curves(results, most=MOST_ARMS)
    if not found:
        raise ReportError("no training was scored on its way (evaluation.every)")
    panels = [
        Panel(title=measure.label, unit=measure.unit, lines=[_line(curve, measure) for curve in found[measure.key]])
        for measure in results.headline
        if measure.key in found
    ]
    return draw_lines([Strip(label="Pre-training step", panels=panels, named=False)])


def _line(curve: Curve, measure: Measure) -> Line:
    several = curve.seeds > 1
    return Line(
        name=curve.arm.label + (" †" if curve.arm.baseline else ""),
        x=curve.steps,
        y=[value * measure.scale for value in curve.mean],
        low=[value * measure.scale for value in curve.low] if several else (),
        high=[value * measure.scale for value in curve.high] if several else (),
    )
