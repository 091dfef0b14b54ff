"""What the report says in numbers: every arm's means, the differences to the baseline, the effect of every axis.

Comparisons are paired: the same seeds and the same items on both sides, or the seeds and items that both have. Within
one measure the p-values of all arms are adjusted by Holm. A null result is only called one where it was tested
(``equivalent``): a large p alone is ``unclear``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reports.frame import POINT, Arm, Measure, Results
from reports.statistics import Estimate, estimates, holm, is_equivalent, p_values

Key = TypeVar("Key")
Contrast = Mapping[str, float]
"""Weights by arm key that come to zero: one arm minus another, or a difference of differences."""

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean paired difference, in stored units."""

    estimate: Estimate
    p: float
    p_holm: float
    """Adjusted over the comparisons of the same measure."""
    verdict: str
    """``higher``, ``lower`` (adjusted p below 0.05), ``equivalent`` (within the margin), or ``unclear``."""
    within: bool
    """Whether it is within the sweep's margin of zero by two one-sided tests, higher or lower though it may be."""
    margin: float
    """That margin, in stored units."""


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
        strata = {arm.key: _strata(results, arm, measure) for arm in results.arms}
        filled = {arm: tables for arm, tables in strata.items() if tables and all(one.shape[1] for one in tables)}
        found = estimates(list(filled.values()), bounds=[measure.bounds] * len(filled))
        means |= {(arm, measure.key): mean for arm, mean in zip(filled, found, strict=True)}
        if baseline is not None:
            against = {arm.key: [{arm.key: 1.0, baseline.key: -1.0}] for arm in results.arms if arm.key != baseline.key}
            compared = compare(results, against, measure)
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


def compare(results: Results, contrasts: Mapping[Key, Sequence[Contrast]], measure: Measure) -> dict[Key, Difference]:
    """For each key the mean of its contrasts at a measure; p is adjusted over the keys by Holm.

    A contrast with an arm that has no scores is left out, and a key without any other is not in the answer. The seeds
    of a key are those that all its arms have.
    """
    paired = {key: _paired(results, parts, measure) for key, parts in contrasts.items()}
    filled = {key: one for key, one in paired.items() if one is not None}
    found = estimates([tables for tables, _ in filled.values()], bounds=[bounds for _, bounds in filled.values()])
    known = dict(zip(filled, found, strict=True))
    raw = p_values(list(known.values()))
    margin = results.margin * POINT
    compared = {}
    for (key, contrast), p, adjusted in zip(known.items(), raw, holm(raw), strict=True):
        within = is_equivalent(contrast, margin)
        if adjusted < LEVEL:
            verdict = "higher" if contrast.mean > 0 else "lower"
        else:
            verdict = "equivalent" if within else "unclear"
        compared[key] = Difference(
            estimate=contrast, p=p, p_holm=adjusted, verdict=verdict, within=within, margin=margin
        )
    return compared


def scored(results: Results, contrasts: Sequence[Contrast], measure: Measure) -> list[Contrast]:
    """The contrasts all of whose arms have scores."""
    return [contrast for contrast in contrasts if all(results.done(arm, measure) for arm in contrast)]


def _axis_effects(results: Results) -> list[AxisEffect]:
    by_values = {frozenset(arm.values.items()): arm for arm in results.arms if arm.values}
    effects: dict[tuple[str, str], list[Contrast]] = {}
    references = reference_values(results)
    for axis in results.plan["axes"]:
        name = axis["name"]
        for arm in results.arms:
            value = arm.values.get(name)
            if value is None or value == references[name]:
                continue
            partner = by_values.get(frozenset((dict(arm.values) | {name: references[name]}).items()))
            if partner is not None:
                effects.setdefault((name, value), []).append({arm.key: 1.0, partner.key: -1.0})
    found: dict[tuple[str, str], dict[str, Difference]] = {key: {} for key in effects}
    for measure in results.headline:
        for key, difference in compare(results, effects, measure).items():
            found[key][measure.key] = difference
    return [
        AxisEffect(
            axis=axis, value=value, reference=references[axis], pairs=len(effects[axis, value]), differences=values
        )
        for (axis, value), values in found.items()
    ]


def _strata(results: Results, arm: Arm, measure: Measure) -> list[np.ndarray]:
    """Of all scored trials of an arm, by seed; none without any."""
    trials = results.done(arm.key, measure)
    return results.strata([trials[seed] for seed in sorted(trials)], measure) if trials else []


def _paired(
    results: Results, contrasts: Sequence[Contrast], measure: Measure
) -> tuple[list[np.ndarray], tuple[float, float] | None] | None:
    """The mean over the contrasts that have scores, for each seed and item that all their arms have: a table (seeds,
    items) for each task, and the bounds of its entries. ``None`` where nothing is shared."""
    parts = scored(results, contrasts, measure)
    weights: dict[str, float] = {}
    for contrast in parts:
        for arm, weight in contrast.items():
            weights[arm] = weights.get(arm, 0.0) + weight / len(parts)
    done = [results.done(arm, measure) for arm in weights]
    seeds = sorted(set.intersection(*(set(trials) for trials in done))) if done else []
    if not seeds:
        return None
    tables = []
    for table in results.strata([trials[seed] for trials in done for seed in seeds], measure):
        if table.shape[1] == 0:
            return None
        scores = table.reshape(len(weights), len(seeds), -1)  # arm, seed, item
        tables.append(np.tensordot(np.array(list(weights.values())), scores, axes=1))
    reach = sum(weight for weight in weights.values() if weight > 0)
    bounds = measure.bounds
    width = 0.0 if bounds is None else reach * (bounds[1] - bounds[0])
    return tables, None if bounds is None else (-width, width)
