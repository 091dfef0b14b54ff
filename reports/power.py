"""What a sweep could have detected, and how many seeds it would take to detect more.

A true difference d is detected with probability 1 - beta if the interval of its estimate excludes zero that often:
d = t(0.975) s + t(1 - beta) s, in the terms of ``reports/statistics.py`` the half-width at 95 % and that at the
confidence 2 (1 - beta) - 1 (Cohen 1988, chapter 2, with Student's t for the normal quantiles, since there are few
seeds). The variances are the sweep's own, so with two or three seeds these numbers are rough themselves.

With S' instead of S seeds, A and C of the variance's parts become A S / S' and C S / S'; the items' own part does not
change, so some differences cannot be shown by any number of seeds: they need more items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from reports.analysis import Analysis
from reports.frame import POINT, Measure
from reports.statistics import CONFIDENCE, Estimate, Parts, half_widths
from reports.tables import Cell, Row, Table, spoken_margin

POWER = 0.8
MOST_SEEDS = 200


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the comparisons with the baseline could have detected at one measure. Differences in stored units."""

    measure: Measure
    comparisons: int
    least_seeds: int
    """Fewest of any of them."""
    typical: float
    """Smallest true difference that is detected four times in five, before any adjustment: the median over the arms."""
    worst: float
    """The largest over the arms."""
    seeds: int | None
    """Needed by the median arm to detect a difference as large as the margin; ``None`` for more than ``MOST_SEEDS``."""


def detectable(parts: Sequence[Parts]) -> np.ndarray:
    """Smallest true differences that are detected with probability ``POWER``, in the score's units."""
    return half_widths(parts, CONFIDENCE) + half_widths(parts, 2 * POWER - 1)


def with_seeds(estimate: Estimate, seeds: int) -> Parts:
    """The parts that an estimate from ``seeds`` seeds can be expected to have. It must come from at least two."""
    parts, ratio = estimate.parts, estimate.seeds / seeds
    return Parts(
        seed=parts.seed * ratio,
        item=max(parts.item - parts.residual, 0.0) + parts.residual * ratio,
        residual=parts.residual * ratio,
        seed_freedom=seeds - 1,
        item_freedom=parts.item_freedom,
    )


def seeds_to_see(estimates: Sequence[Estimate], difference: float) -> list[int | None]:
    """For each, the least number of seeds with which a true difference (stored units) is detectable; ``None`` beyond
    ``MOST_SEEDS``."""
    least, most = np.full(len(estimates), 2), np.full(len(estimates), MOST_SEEDS + 1)
    while (undecided := least < most).any():  # bisection: the detectable difference falls with every additional seed
        middle = (least + most) // 2
        parts = [with_seeds(estimate, int(count)) for estimate, count in zip(estimates, middle, strict=True)]
        seen = detectable(parts) <= difference
        most = np.where(undecided & seen, middle, most)
        least = np.where(undecided & ~seen, middle + 1, least)
    return [int(count) if count <= MOST_SEEDS else None for count in most]


def sights(analysis: Analysis) -> list[Sight]:
    """One for each headline measure; none with one seed, which says nothing about another training."""
    found = []
    for measure in analysis.results.headline:
        compared = [analysis.difference(arm, measure) for arm in analysis.results.arms]
        estimates = [one.estimate for one in compared if one is not None and one.estimate.seeds > 1]
        if not estimates:
            continue
        reaches = detectable([estimate.parts for estimate in estimates]).tolist()
        margin = analysis.results.margin * POINT
        counts = [seeds or MOST_SEEDS + 1 for seeds in seeds_to_see(estimates, margin)]
        seeds = round(median(counts))
        found.append(
            Sight(
                measure=measure,
                comparisons=len(estimates),
                least_seeds=min(estimate.seeds for estimate in estimates),
                typical=median(reaches),
                worst=max(reaches),
                seeds=seeds if seeds <= MOST_SEEDS else None,
            )
        )
    return found


def power_table(found: list[Sight], margin: float) -> Table:
    """``margin``: the sweep's, in points."""
    rows = tuple(
        Row(
            label=sight.measure.label,
            baseline=False,
            seeds=str(sight.least_seeds),
            cells=(
                Cell(mean=sight.typical * sight.measure.scale, half_width=None),
                Cell(mean=sight.worst * sight.measure.scale, half_width=None),
                Cell(mean=None, half_width=None, text=f"> {MOST_SEEDS}" if sight.seeds is None else str(sight.seeds)),
            ),
        )
        for sight in found
    )
    notes = (
        f"Smallest true difference from the baseline, in points, that is found in {100 * POWER:g} % of sweeps like "
        "this one (p < 0.05 before the adjustment for several arms), and the seeds for which it would be as small as "
        f"{spoken_margin(margin)}. From this sweep's own spread, so rough where seeds are few.",
    )
    return Table(
        name="power",
        caption="What this sweep could have seen",
        columns=("median over the arms", "worst arm", f"seeds to see {spoken_margin(margin)}"),
        rows=rows,
        notes=notes,
        rows_are="measure",
    )
