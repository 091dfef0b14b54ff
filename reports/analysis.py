"""What the report says in numbers: every arm's means, the differences from the baseline, the effect of every axis.

Comparisons are paired: the same seeds and the same items on both sides, or those that both sides have. Within one
measure the p-values of all arms are adjusted by Holm. Only a tested null result is called one (``equivalent``): a large
p alone is ``unclear``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import TypeVar

import numpy as np

from reports.frame import POINT, Arm, Measure, Results
from reports.statistics import Estimate, are_equivalent, estimates, holm, p_values

Key = TypeVar("Key")
Contrast = Mapping[str, float]
"""Weights by arm key that sum to zero: one arm minus another, or a difference of differences."""

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
    """Whether it is within the sweep's margin of zero by two one-sided tests, whatever the verdict."""
    margin: float
    """That margin, in stored units."""
    contrasts: int
    """Number of contrasts averaged in it: 1 for one arm against another."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Paired differences of scores."""

    tables: Sequence[np.ndarray]
    """One table (seeds, items) per task, in stored units."""
    bounds: tuple[float, float] | None
    """Least and largest possible entry."""
    contrasts: int = 1
    """Number of contrasts averaged."""


@dataclass(frozen=True, kw_only=True)
class AxisEffect:
    """One value of an axis against the axis' reference value, all else equal, over every pair of arms that has both."""

    axis: str
    value: str
    reference: str
    differences: Mapping[str, Difference]
    """By measure key; a measure that no pair has scores for is left out."""

    @property
    def pairs(self) -> int:
        """Number of pairs of arms averaged, out of those planned: 1 in a one-at-a-time design."""
        return max((one.contrasts for one in self.differences.values()), default=0)


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Results with everything computed from them."""

    results: Results
    means: Mapping[tuple[str, str], Estimate]
    """By (arm key, measure key); arms without a scored trial are left out."""
    differences: Mapping[tuple[str, str], Difference]
    """Differences from the baseline arm, by (arm key, measure key); empty without a scored baseline."""
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
    baseline, trials = results.baseline, _trials(results)
    for measure in (*results.headline, *results.details):
        strata = {arm.key: _strata(results, arm, measure) for arm in results.arms}
        filled = {arm: tables for arm, tables in strata.items() if tables and all(one.shape[1] for one in tables)}
        found = estimates(list(filled.values()), bounds=[measure.bounds] * len(filled))
        means |= {(arm, measure.key): mean for arm, mean in zip(filled, found, strict=True)}
        if baseline is not None:
            others = {key: own for key, own in trials.items() if not own & trials[baseline.key]}
            against = {own: [{key: 1.0, baseline.key: -1.0}] for key, own in others.items()}  # equal ones are one test
            compared = compare(results, against, measure)
            differences |= {(key, measure.key): compared[own] for key, own in others.items() if own in compared}
    return Analysis(results=results, means=means, differences=differences, axis_effects=tuple(_axis_effects(results)))


def reference_values(results: Results) -> dict[str, str]:
    """For each axis, the value that others are compared with: the baseline's, or the plan's first where it has none."""
    baseline = results.baseline
    references = {}
    for axis in results.plan["axes"]:
        labels = [value["label"] for value in axis["values"]]
        own = baseline.values.get(axis["name"]) if baseline else None
        if own is not None or labels:
            references[axis["name"]] = own if own is not None else labels[0]
    return references


def compare(results: Results, contrasts: Mapping[Key, Sequence[Contrast]], measure: Measure) -> dict[Key, Difference]:
    """For each key, the mean of its ``usable`` contrasts at a measure; p is adjusted over the keys by Holm.

    A key without any is left out. The seeds of a key are those that all its arms have. Where only one of several
    planned seeds is left, nothing is claimed: p is NaN. One seed is never ``equivalent``: it cannot show that.
    """
    used = {key: usable(results, parts, measure) for key, parts in contrasts.items()}
    paired = {key: _paired(results, parts, measure) for key, parts in used.items() if parts}
    return judged(results, {key: one for key, one in paired.items() if one is not None})


def judged(results: Results, paired: Mapping[Key, Paired]) -> dict[Key, Difference]:
    """The difference and verdict for each; p is adjusted over all of them by Holm."""
    found = estimates([one.tables for one in paired.values()], bounds=[one.bounds for one in paired.values()])
    raw = p_values(found)
    raw = [nan if one.seeds < min(2, results.planned_seeds) else p for one, p in zip(found, raw, strict=True)]
    margin = results.margin * POINT
    alike = are_equivalent(found, margin)
    differences = {}
    for key, estimate, p, adjusted, close in zip(paired, found, raw, holm(raw), alike, strict=True):
        within = estimate.seeds > 1 and close
        if adjusted < LEVEL:
            verdict = "higher" if estimate.mean > 0 else "lower"
        else:
            verdict = "equivalent" if within else "unclear"
        differences[key] = Difference(
            estimate=estimate,
            p=p,
            p_holm=adjusted,
            verdict=verdict,
            within=within,
            margin=margin,
            contrasts=paired[key].contrasts,
        )
    return differences


def usable(results: Results, contrasts: Sequence[Contrast], measure: Measure) -> list[Contrast]:
    """The contrasts that can be averaged: those whose arms all have scores, at seeds shared by all of them.

    A contrast that would leave the others fewer than two seeds is dropped: with fewer than two, nothing is known about
    another training, and failed trials of a few arms must not have that effect on all.
    """
    seeds = [set.intersection(*(set(results.done(arm, measure)) for arm in contrast)) for contrast in contrasts]
    needed = min(2, max(map(len, seeds), default=0))
    common: set[int] = set().union(*seeds)
    kept = set()
    for place in sorted(range(len(seeds)), key=lambda place: -len(seeds[place])):
        if needed and len(common & seeds[place]) >= needed:
            common &= seeds[place]
            kept.add(place)
    return [contrast for place, contrast in enumerate(contrasts) if place in kept]


def _trials(results: Results) -> dict[str, frozenset[str]]:
    """The keys of each arm's planned trials. Sweeps that are compared may share some, and a trial says nothing about
    itself."""
    return {arm.key: frozenset(trial.key for trial in results.trials(arm.key)) for arm in results.arms}


def _axis_effects(results: Results) -> list[AxisEffect]:
    by_values = {frozenset(arm.values.items()): arm for arm in results.arms if arm.values}
    effects: dict[tuple[str, str], list[Contrast]] = {}
    references, trials = reference_values(results), _trials(results)
    for axis in results.plan["axes"]:
        name = axis["name"]
        for arm in results.arms:
            value = arm.values.get(name)
            if value is None or value == references[name]:
                continue
            partner = by_values.get(frozenset((dict(arm.values) | {name: references[name]}).items()))
            if partner is not None and not trials[partner.key] & trials[arm.key]:
                effects.setdefault((name, value), []).append({arm.key: 1.0, partner.key: -1.0})
    found: dict[tuple[str, str], dict[str, Difference]] = {key: {} for key in effects}
    for measure in results.headline:
        for key, difference in compare(results, effects, measure).items():
            found[key][measure.key] = difference
    return [
        AxisEffect(axis=axis, value=value, reference=references[axis], differences=values)
        for (axis, value), values in found.items()
    ]


def _strata(results: Results, arm: Arm, measure: Measure) -> list[np.ndarray]:
    """Score tables of all scored trials of an arm, ordered by seed; empty without any."""
    trials = results.done(arm.key, measure)
    return results.strata([trials[seed] for seed in sorted(trials)], measure) if trials else []


def _paired(results: Results, contrasts: Sequence[Contrast], measure: Measure) -> Paired | None:
    """The mean over contrasts that are usable together, for each seed and item that all their arms have. ``None`` where
    a task has no shared item."""
    weights: dict[str, float] = {}
    for contrast in contrasts:
        for arm, weight in contrast.items():
            weights[arm] = weights.get(arm, 0.0) + weight / len(contrasts)
    done = [results.done(arm, measure) for arm in weights]
    seeds = sorted(set.intersection(*(set(trials) for trials in done)))
    tables = []
    for table in results.strata([trials[seed] for trials in done for seed in seeds], measure):
        if table.shape[1] == 0:
            return None
        scores = table.reshape(len(weights), len(seeds), -1)  # arm, seed, item
        tables.append(np.tensordot(np.array(list(weights.values())), scores, axes=1))
    reach = sum(weight for weight in weights.values() if weight > 0)
    bounds = measure.bounds
    width = 0.0 if bounds is None else reach * (bounds[1] - bounds[0])
    return Paired(tables=tables, bounds=None if bounds is None else (-width, width), contrasts=len(contrasts))
