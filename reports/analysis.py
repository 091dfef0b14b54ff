"""What the report says in numbers: every arm's means, the differences to the baseline, the effect of every axis.

Comparisons are paired: the same seeds and the same items on both sides, or the seeds and items that both have. Within
one measure the p-values of all arms are adjusted by Holm. A null result is only called one where it was tested
(``equivalent``): a large p alone is ``unclear``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reports.frame import Arm, Measure, Results
from reports.records import Trial
from reports.statistics import Estimate, estimate, holm, is_equivalent, p_values

Key = TypeVar("Key")

LEVEL = 0.05
EQUIVALENCE_MARGIN = 1.0
"""In shown units (points): within this of zero, by two one-sided tests, a difference counts as none."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean paired difference, in stored units."""

    estimate: Estimate
    p: float
    p_holm: float
    """Adjusted over the comparisons of the same measure."""
    verdict: str
    """``higher``, ``lower`` (adjusted p below 0.05), ``equivalent`` (within the margin), or ``unclear``."""


@dataclass(frozen=True, kw_only=True)
class AxisEffect:
    """One value of an axis against the axis' reference value, all else equal, over every pair of arms that has both."""

    axis: str
    value: str
    reference: str
    pairs: int
    """Pairs of arms that are averaged: 1 in a one-at-a-time design."""
    differences: Mapping[str, Difference]
    """By measure key; a measure that no pair has scores for is not here."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Results with everything computed from them."""

    results: Results
    means: Mapping[tuple[str, str], Estimate]
    """By (arm key, measure key); arms without a scored trial are not here."""
    differences: Mapping[tuple[str, str], Difference]
    """To the baseline arm, by (arm key, measure key); empty without a scored baseline."""
    axis_effects: tuple[AxisEffect, ...]
    """For the headline measures, by axis and value in the order of the plan."""

    def mean(self, arm: Arm, measure: Measure) -> Estimate | None:
        return self.means.get((arm.key, measure.key))

    def difference(self, arm: Arm, measure: Measure) -> Difference | None:
        return self.differences.get((arm.key, measure.key))


def analyse(results: Results) -> Analysis:
    """Compute every mean, difference and axis effect of the results."""
    means: dict[tuple[str, str], Estimate] = {}
    differences: dict[tuple[str, str], Difference] = {}
    baseline = results.baseline
    for measure in (*results.headline, *results.details):
        for arm in results.arms:
            trials = results.done(arm.key, measure)
            if trials:
                strata = results.strata([trials[seed] for seed in sorted(trials)], measure)
                if all(table.shape[1] for table in strata):
                    means[arm.key, measure.key] = estimate(strata, bounds=measure.bounds)
        if baseline is not None:
            contrasts = {
                arm.key: _contrast(results, [(arm.key, baseline.key)], measure)
                for arm in results.arms
                if arm.key != baseline.key
            }
            compared = _compare({key: value for key, value in contrasts.items() if value is not None}, measure)
            differences |= {(key, measure.key): difference for key, difference in compared.items()}
    return Analysis(results=results, means=means, differences=differences, axis_effects=tuple(_axis_effects(results)))


def reference_values(results: Results) -> dict[str, str]:
    """Per axis the value others are compared with: the baseline's, or the first in the plan where there is none."""
    baseline = results.baseline
    references = {}
    for axis in results.plan["axes"]:
        labels = [value["label"] for value in axis["values"]]
        own = baseline.values.get(axis["name"]) if baseline else None
        if own is not None or labels:
            references[axis["name"]] = own if own is not None else labels[0]
    return references


def _axis_effects(results: Results) -> list[AxisEffect]:
    by_values = {frozenset(arm.values.items()): arm for arm in results.arms if arm.values}
    effects: dict[tuple[str, str], list[tuple[str, str]]] = {}
    references = reference_values(results)
    for axis in results.plan["axes"]:
        name = axis["name"]
        for arm in results.arms:
            value = arm.values.get(name)
            if value is None or value == references[name]:
                continue
            partner = by_values.get(frozenset((dict(arm.values) | {name: references[name]}).items()))
            if partner is not None:
                effects.setdefault((name, value), []).append((arm.key, partner.key))
    found: dict[tuple[str, str], dict[str, Difference]] = {key: {} for key in effects}
    for measure in results.headline:
        contrasts = {key: _contrast(results, pairs, measure) for key, pairs in effects.items()}
        compared = _compare({key: value for key, value in contrasts.items() if value is not None}, measure)
        for key, difference in compared.items():
            found[key][measure.key] = difference
    return [
        AxisEffect(
            axis=axis, value=value, reference=references[axis], pairs=len(effects[axis, value]), differences=values
        )
        for (axis, value), values in found.items()
    ]


def _contrast(results: Results, pairs: Sequence[tuple[str, str]], measure: Measure) -> Estimate | None:
    """The mean over pairs of arms of the paired difference first minus second.

    Pairs with an arm that has no scores are left out. The seeds are those that every remaining arm has.
    """
    scored = []
    for first, second in pairs:
        left, right = results.done(first, measure), results.done(second, measure)
        if left and right:
            scored.append((left, right))
    if not scored:
        return None
    seeds = sorted(set.intersection(*(left.keys() & right.keys() for left, right in scored)))
    if not seeds:
        return None
    trials: list[Trial] = []
    for left, right in scored:
        trials += [left[seed] for seed in seeds] + [right[seed] for seed in seeds]
    tables = []
    for table in results.strata(trials, measure):
        if table.shape[1] == 0:
            return None
        sides = table.reshape(len(scored), 2, len(seeds), -1)  # pair, side, seed, item
        tables.append((sides[:, 0] - sides[:, 1]).mean(axis=0))
    bounds = measure.bounds
    return estimate(tables, bounds=None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0]))


def _compare(contrasts: Mapping[Key, Estimate], measure: Measure) -> dict[Key, Difference]:
    raw = p_values(list(contrasts.values()))
    compared = {}
    for (key, contrast), p, adjusted in zip(contrasts.items(), raw, holm(raw), strict=True):
        if adjusted < LEVEL:
            verdict = "higher" if contrast.mean > 0 else "lower"
        elif is_equivalent(contrast, EQUIVALENCE_MARGIN / measure.scale):
            verdict = "equivalent"
        else:
            verdict = "unclear"
        compared[key] = Difference(estimate=contrast, p=p, p_holm=adjusted, verdict=verdict)
    return compared
