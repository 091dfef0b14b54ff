"""How the best learning rate changes with the decoder's size: a power law through the best rate of each size and seed.

MM1 (its Fig. 6): rates were searched for models of four sizes, those with the best 8-shot scores kept, a line fitted in
log-log space: ``rate = exp(-0.4214 ln N - 0.5535)``, N being the parameters without embeddings. Ordinary least squares,
with the intervals of the t distribution (Draper and Smith 1998, Applied Regression Analysis, ch. 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from typing import Any

import numpy as np
from scipy.special import stdtrit

from reports.figures import SHOWS
from reports.frame import Arm, Measure, Results
from reports.tables import Cell, Row, Table

RATES = SHOWS["learning_rate"]
"""Keys of learning rates; the first one that an axis sets counts."""
_FACTORS = (2, 4, 10)
_PAPER_SIZES = (1.2e9, 30e9)
_BEST = "eval/eight_shot"
"""The measure by which the paper chose."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The rate with the best score at one size and seed."""

    size: int
    """Parameters of the decoder without embeddings."""
    seed: int
    rate: float
    """The geometric mean of several that scored the same."""
    edge: bool
    """Whether it is the smallest or the largest rate tried there: the best may lie beyond."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """``rate = exp(slope ln N + intercept)``."""

    slope: float
    slope_low: float
    slope_high: float
    """95 % interval."""
    intercept: float
    points: int
    spread: float
    """Standard deviation of the points about the line, in natural logarithms."""
    middle: float
    """Mean of ln N."""
    lever: float
    """Sum of squares of ln N about ``middle``."""

    def rate(self, size: float) -> float:
        return exp(self.slope * log(size) + self.intercept)

    def interval(self, size: float) -> tuple[float, float]:
        """95 % interval for the best rate of one more training of this size."""
        width = _quantile(self.points) * self.spread
        width *= sqrt(1 + 1 / self.points + (log(size) - self.middle) ** 2 / self.lever)
        return self.rate(size) * exp(-width), self.rate(size) * exp(width)


def rate_axis(results: Results) -> dict[str, Any] | None:
    """The axis that sets the rate; ``None`` where none does, or the plan does not say how large the decoders are."""
    sized = any(arm.decoder_parameters for arm in results.arms)
    axes = [axis for axis in results.plan["axes"] if set(RATES) & set(axis["keys"])]
    return axes[0] if axes and sized else None


def rate_key(axis: dict[str, Any]) -> str:
    return next(key for key in RATES if key in axis["keys"])


def chosen_by(results: Results) -> Measure | None:
    """The measure by which rates are compared: 8-shot as in the paper, else the first there is."""
    known = {measure.key: measure for measure in results.headline}
    return known.get(_BEST) or next(iter(known.values()), None)


def by_size(results: Results, axis: dict[str, Any]) -> dict[int, list[tuple[float, Arm]]]:
    """By size of the decoder, smallest first: every rate tried, smallest first, with its arm."""
    key = rate_key(axis)
    found: dict[int, list[tuple[float, Arm]]] = {}
    for arm in results.arms:
        rate = arm.settings.get(key)
        if arm.decoder_parameters and isinstance(rate, int | float):
            found.setdefault(arm.decoder_parameters, []).append((float(rate), arm))
    return {size: sorted(arms, key=lambda pair: pair[0]) for size, arms in sorted(found.items())}


def best_rates(results: Results, axis: dict[str, Any], measure: Measure) -> list[Best]:
    """The best rate of each size and seed whose rates all have scores, where more than two were tried."""
    found = []
    for size, tried in by_size(results, axis).items():
        scores = [_by_seed(results, arm, measure) for _, arm in tried]
        for seed in sorted(set.intersection(*map(set, scores))) if len(tried) > 2 else ():
            highest = max(one[seed] for one in scores)
            rates = [rate for (rate, _), one in zip(tried, scores, strict=True) if one[seed] == highest]
            edge = bool({tried[0][0], tried[-1][0]} & set(rates))
            found.append(Best(size=size, seed=seed, rate=exp(float(np.mean(np.log(rates)))), edge=edge))
    return found


def power_law(points: Sequence[Best]) -> PowerLaw | None:
    """The law through the points that are not at an edge; ``None`` for fewer than three of them or a single size."""
    inside = [point for point in points if not point.edge]
    sizes, rates = np.log([point.size for point in inside]), np.log([point.rate for point in inside])
    if len(inside) < 3 or len(set(sizes)) < 2:
        return None
    lever = float(np.sum((sizes - sizes.mean()) ** 2))
    slope = float(np.sum((sizes - sizes.mean()) * (rates - rates.mean()))) / lever
    intercept = float(rates.mean() - slope * sizes.mean())
    spread = sqrt(float(np.sum((rates - slope * sizes - intercept) ** 2)) / (len(inside) - 2))
    width = _quantile(len(inside)) * spread / sqrt(lever)
    return PowerLaw(
        slope=slope,
        slope_low=slope - width,
        slope_high=slope + width,
        intercept=intercept,
        points=len(inside),
        spread=spread,
        middle=float(sizes.mean()),
        lever=lever,
    )


def predictions_table(results: Results) -> Table | None:
    """Rates for larger decoders; ``None`` where there is no law to predict them by."""
    axis, measure = rate_axis(results), chosen_by(results)
    law = power_law(best_rates(results, axis, measure)) if axis and measure else None
    if axis is None or law is None:
        return None
    largest = max(by_size(results, axis))
    rows = []
    for factor in _FACTORS:
        low, high = law.interval(factor * largest)
        words = (f"{factor * largest:.3g}", f"{law.rate(factor * largest):.2g}", f"{low:.2g} to {high:.2g}")
        cells = tuple(Cell(mean=None, half_width=None, text=word) for word in words)
        rows.append(Row(label=f"{factor} × the largest tried", baseline=False, seeds="", cells=cells))
    notes = (
        f"From {law.points} best rates at up to {largest:.3g} parameters, without embeddings. The interval is for the "
        "best rate of one more training of that size, if the straight line goes on that far.",
        f"The models of MM1 have {_PAPER_SIZES[0] / largest:,.0f} (1.2 billion) to {_PAPER_SIZES[1] / largest:,.0f} "
        "(30 billion) times as many as the largest tried: far outside, so nothing is predicted for them.",
    )
    return Table(
        name="learning_rate_predictions",
        caption=f"Predicted {rate_key(axis).rpartition('.')[2].replace('_', ' ')} of larger decoders",
        columns=("parameters", "rate", "95 % interval"),
        rows=tuple(rows),
        notes=notes,
        rows_are="size",
    )


def _quantile(points: int) -> float:
    return float(stdtrit(points - 2, 0.975))


def _by_seed(results: Results, arm: Arm, measure: Measure) -> dict[int, float]:
    """Score of each seed: the mean over tasks of the mean over their items."""
    return {
        seed: float(np.mean([scores.mean() for scores in results.strata([trial], measure)]))
        for seed, trial in results.done(arm.key, measure).items()
    }
