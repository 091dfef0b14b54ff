"""The report in numbers, as plain data: what the terminal prints and ``--json`` gives, and what a program reads.

Scores are in shown units (percent; CIDEr-D as it is), rounded to six decimals. Nothing in it depends on when or where
the report was made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import Any

from reports.analysis import Analysis, Difference
from reports.frame import Measure
from reports.paper.lessons import Tested, Verdict
from reports.power import Sight
from reports.provenance import Provenance, warnings
from reports.shots import Step
from reports.statistics import Estimate
from reports.tables import spoken_p


def summarise(
    analysis: Analysis,
    found: Provenance,
    lessons: Sequence[Verdict],
    seen: Sequence[Sight],
    gains: Mapping[Step, Mapping[str, Difference]],
) -> dict[str, Any]:
    """Everything but the list of files, which the writer of the report adds."""
    results = analysis.results
    plan = results.plan
    states = Counter(trial.state for trial in results.all_trials)
    labels = {arm.key: arm.label for arm in results.arms}
    return {
        "name": plan["name"],
        "title": plan["title"],
        "design": plan["design"],
        "trials": len(results.all_trials),
        "states": dict(sorted(states.items())),
        "seeds": results.planned_seeds,
        "baseline": results.baseline.label if results.baseline else None,
        "measures": [
            {"key": measure.key, "label": measure.label, "unit": measure.unit} for measure in results.headline
        ],
        "arms": [
            {
                "key": arm.key,
                "label": arm.label,
                "baseline": arm.baseline,
                "seeds_scored": len(results.done(arm.key)),
                "seeds_planned": len(results.trials(arm.key)),
                "scores": {
                    measure.key: {
                        **_numbers(mean, measure),
                        "difference": _difference(analysis.difference(arm, measure), measure),
                    }
                    for measure in results.headline
                    if (mean := analysis.mean(arm, measure)) is not None
                },
            }
            for arm in results.arms
        ],
        "effects": [
            {
                "axis": effect.axis,
                "value": effect.value,
                "reference": effect.reference,
                "pairs": effect.pairs,
                "differences": {
                    measure.key: _difference(effect.differences.get(measure.key), measure)
                    for measure in results.headline
                },
            }
            for effect in analysis.axis_effects
        ],
        "shots": [
            {
                "arm": arm.label,
                "step": f"{more.label} over {few.label}",
                "difference": _difference(known.get(arm.key), more),
            }
            for arm in results.arms
            for (few, more), known in gains.items()
        ],
        "comparable": any(
            analysis.difference(arm, measure) is not None for arm in results.arms for measure in results.headline
        ),
        "tested": any(not isnan(difference.p) for difference in analysis.differences.values()),
        "significant": _significant(analysis),
        "margin": results.margin,
        "power": [
            {
                "measure": sight.measure.key,
                "label": sight.measure.label,
                "comparisons": sight.comparisons,
                "typical": _round(sight.typical * sight.measure.scale),
                "worst": _round(sight.worst * sight.measure.scale),
                "seeds": sight.seeds,
            }
            for sight in seen
        ],
        "lessons": [_lesson(verdict) for verdict in lessons],
        "warnings": warnings(found, results.all_trials),
        "unfinished": [
            {
                "trial": trial.key,
                "arm": labels[trial.arm],
                "seed": trial.seed,
                "state": trial.state,
                "class": trial.failure.get("class", ""),
                "error": trial.failure.get("error", "") or trial.problem,
            }
            for trial in results.all_trials
            if trial.state != "done"
        ],
    }


def _significant(analysis: Analysis) -> list[dict[str, str]]:
    """The arms that differ from the baseline and how, such as ``4-shot +54.1 ± 3.0 (p < 0.001)``."""
    said = []
    for arm in analysis.results.arms:
        parts = []
        for measure in analysis.results.headline:
            difference = analysis.difference(arm, measure)
            if difference is not None and difference.verdict in ("higher", "lower"):
                mean, width = difference.estimate.mean * measure.scale, difference.estimate.half_width * measure.scale
                parts.append(f"{measure.label} {mean:+.1f} ± {width:.1f} ({spoken_p(difference.p_holm)})")
        if parts:
            said.append({"arm": arm.label, "text": ", ".join(parts)})
    return said


def _lesson(verdict: Verdict) -> dict[str, Any]:
    return {
        "name": verdict.lesson.name,
        "statement": verdict.lesson.statement,
        "source": verdict.lesson.source,
        "verdict": verdict.verdict,
        "counts": verdict.counts,
        "missing": list(dict.fromkeys(gap for tested in verdict.claims for gap in tested.compared.gaps)),
        "claims": [_claim(tested) for tested in verdict.claims],
    }


def _claim(tested: Tested) -> dict[str, Any]:
    """``published`` is the paper's difference in points, ``within`` whether ours tests as within the margin."""
    compared = tested.compared
    return {
        "comparison": tested.claim.comparison,
        "label": compared.comparison.label,
        "column": tested.claim.column,
        "expected": tested.claim.expected,
        "verdict": tested.verdict,
        "published": _round(compared.published),
        "difference": _difference(compared.difference, compared.measure) if compared.measure else None,
        "within": compared.difference.within if compared.difference else None,
        "missing": list(compared.gaps),
    }


def _difference(difference: Difference | None, measure: Measure) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        **_numbers(difference.estimate, measure),
        "p": _round(difference.p_holm),
        "verdict": difference.verdict,
    }


def _numbers(estimate: Estimate, measure: Measure) -> dict[str, Any]:
    return {
        "mean": _round(estimate.mean * measure.scale),
        "half_width": _round(estimate.half_width * measure.scale),
        "low": _round(estimate.low * measure.scale),
        "high": _round(estimate.high * measure.scale),
        "seeds": estimate.seeds,
        "items": estimate.items,
    }


def _round(value: float) -> float | None:
    return round(float(value), 6) if isfinite(value) else None
