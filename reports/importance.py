"""Which axes make an arm one of the best, for sweeps whose arms were drawn or proposed rather than crossed.

Optuna's PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255): by how much the values of an axis among the best tenth of
the arms differ from its values among all. It only describes, without intervals, and says nothing about what a search
avoided.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.frame import Arm, Measure, Results
from reports.tables import Cell, Row, Table, heads

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_ARMS = 20
"""Scored arms needed; of fewer, the best tenth is a single arm."""
DESIGNS = ("random", "search")
_FEW = 4
"""A numeric axis with no more values than this counts as categorical."""
_DECADE = 10.0
"""Ratio of the largest value to the smallest from which an axis counts as one of magnitudes."""


def importances(results: Results, measure: Measure) -> Mapping[str, float]:
    """The share of each axis, 0 to 1, in the plan's order. Empty where the design has better means (a crossed one has
    shares of variance), fewer than ``LEAST_ARMS`` arms have scores, or fewer than two axes vary."""
    scores = {arm.key: _score(results, arm, measure) for arm in results.arms if results.done(arm.key, measure)}
    arms = [arm for arm in results.arms if arm.key in scores]
    axes = {axis["name"]: _values(axis, arms) for axis in results.plan["axes"]}
    varied = {name: values for name, values in axes.items() if len(set(values)) > 1}
    if results.plan["design"] not in DESIGNS or len(arms) < LEAST_ARMS or len(varied) < 2:
        return {}
    import optuna  # here: it takes half a second, and only these designs need it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    space = {name: _distribution(values) for name, values in varied.items()}
    for number, arm in enumerate(arms):
        params = {name: values[number] for name, values in varied.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=scores[arm.key]))
    shares = optuna.importance.get_param_importances(study)
    return {name: shares[name] for name in varied}


def importance_table(results: Results) -> Table | None:
    """The shares at the headline measures; ``None`` where no measure has any."""
    shares = {measure.key: importances(results, measure) for measure in results.headline}
    names = list(dict.fromkeys(name for one in shares.values() for name in one))
    if not names:
        return None
    rows = tuple(
        Row(
            label=name,
            baseline=False,
            seeds=str(results.planned_seeds),
            cells=tuple(_cell(shares[measure.key].get(name)) for measure in results.headline),
        )
        for name in names
    )
    note = (
        "Share of each axis in what sets the best tenth of the arms apart from all of them (PED-ANOVA, by Optuna). A "
        "description of these arms, without intervals."
    )
    return Table(
        name="importance",
        caption="Which axes matter among the best arms",
        columns=heads(results.headline),
        rows=rows,
        notes=(note,),
        rows_are="axis",
    )


def _cell(share: float | None) -> Cell:
    if share is None:
        return Cell(mean=None, half_width=None, note="too few arms")
    return Cell(mean=None, half_width=None, text=f"{100 * share:.0f} %")


def _score(results: Results, arm: Arm, measure: Measure) -> float:
    trials = list(results.done(arm.key, measure).values())
    return float(np.mean([scores.mean() for scores in results.strata(trials, measure) if scores.size]))


def _values(axis: Mapping[str, Any], arms: Sequence[Arm]) -> list[float] | list[str]:
    """Where each arm is on an axis: numbers where all values are numbers and many, else the values' labels."""
    set_to = [arm.settings.get(axis["keys"][0]) for arm in arms] if len(axis["keys"]) == 1 else [None]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in set_to)
    if numeric and len(set(set_to)) > _FEW:
        return [float(value) for value in set_to if value is not None]
    return [arm.values.get(axis["name"], "") for arm in arms]


def _distribution(values: Sequence[float] | Sequence[str]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [value for value in values if isinstance(value, float)]
    if not numbers:
        return CategoricalDistribution(sorted({str(value) for value in values}))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high >= _DECADE * low)
