"""How much of the spread of the scores each axis accounts for: an analysis of variance of the trials' scores.

Least squares on a trial's score with a term for each axis, each pair of crossed axes, and the seeds as blocks; sums of
squares of type II (Langsrud 2003, Stat. Comput. 13:163), by statsmodels. What is left (seeds that matter more for one
arm than for another, higher interactions) is the yardstick of the F tests. The items are taken as fixed: these shares
are about this evaluation only, unlike the intervals in the other tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from reports.frame import Measure, Results
from reports.statistics import holm
from reports.tables import Cell, Row, Table, heads, spoken_p

MOST_COLUMNS = 200
"""Most columns of the design matrix; beyond that, the fit takes minutes and the table says little."""
SEED, REST = "seed", "rest"
_PART = ("task", "metric", "shots")


@dataclass(frozen=True, kw_only=True)
class Share:
    """One term's part of the spread at one measure."""

    share: float
    """Sum of squares over that of all terms together, 0 to 1."""
    p: float
    """p of the F test, adjusted over the axes and their pairs by Holm; NaN for the seeds and the rest."""


Shares = Mapping[str, Share]
"""By term: an axis, two joined by `` × ``, ``SEED`` and ``REST``."""


def variance_shares(results: Results, measure: Measure) -> Shares:
    """The shares; empty where the trials cannot separate the terms: no two crossed axes, too few trials, too many
    values."""
    table = _scores(results, measure)
    terms = _terms(results, table)
    width = 1 + sum(int(np.prod([table[name].nunique() - 1 for name in names])) for names in terms.values())
    if not any(len(names) == 2 for names in terms.values()) or not width < min(len(table), MOST_COLUMNS):
        return {}
    from statsmodels.formula.api import ols  # here: it takes one and a half seconds, and only crossed sweeps need it
    from statsmodels.stats.anova import anova_lm

    names = {name: ":".join(f"C({column})" for column in columns) for name, columns in terms.items()}
    model = ols(f"score ~ {' + '.join(names.values())}", table)
    if np.linalg.matrix_rank(model.exog) < model.exog.shape[1]:
        return {}
    fitted = anova_lm(model.fit(), typ=2)  # its rows are not in the order of the formula
    squares = {name: float(fitted["sum_sq"][row]) for name, row in {**names, REST: "Residual"}.items()}
    whole = sum(squares.values())
    if whole <= 1e-12:  # every trial scored the same
        return {}
    tested = [name for name in names if name != SEED]
    adjusted = holm([float(fitted["PR(>F)"][names[name]]) for name in tested])
    known = dict(zip(tested, adjusted, strict=True))
    return {name: Share(share=one / whole, p=known.get(name, float("nan"))) for name, one in squares.items()}


def variance_table(results: Results, shares: Mapping[str, Shares]) -> Table | None:
    """``shares`` by headline measure; ``None`` where no measure has shares."""
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
        for name in sorted(names, key=lambda name: (name == REST, name == SEED))
    )
    note = (
        "Percent of the sum of squares of the trials' scores (type II analysis of variance, seeds as blocks); p of the "
        "F test against the rest, adjusted over the axes and their pairs by Holm. About these items; the effects and "
        "their intervals are in the other tables."
    )
    return Table(
        name="variance",
        caption="What the scores vary with",
        columns=heads(results.headline),
        rows=rows,
        notes=(note,),
        rows_are="term",
    )


def _cell(share: Share | None) -> Cell:
    if share is None:
        return Cell(mean=None, half_width=None, note="not separable")
    p = "" if np.isnan(share.p) else f" ({spoken_p(share.p)})"
    return Cell(mean=None, half_width=None, text=f"{100 * share.share:.1f} %{p}")


def _scores(results: Results, measure: Measure) -> pd.DataFrame:
    """A row for each scored trial: its score, its seed, and its value on each axis (``a0``, …)."""
    parts = pd.DataFrame([(part.task, part.metric, part.shots) for part in measure.parts], columns=[*_PART])
    means = results.frame.merge(parts.astype({"shots": "Int64"})).groupby(["trial", "task"])["mean"].mean()
    scores = means.groupby("trial").mean()
    axes = [axis["name"] for axis in results.plan["axes"]]
    rows = [
        (scores[trial.key], seed, *(arm.values.get(axis) for axis in axes))
        for arm in results.arms
        for seed, trial in results.done(arm.key, measure).items()
    ]
    return pd.DataFrame(rows, columns=["score", SEED, *(f"a{number}" for number in range(len(axes)))])


def _terms(results: Results, table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """The columns of each term, by its shown name: axes that vary, and pairs of them with all combinations present."""
    axes = {f"a{number}": axis["name"] for number, axis in enumerate(results.plan["axes"])}
    varied = [column for column in axes if table[column].nunique() > 1 and not table[column].isna().any()]
    crossed = [
        pair
        for pair in combinations(varied, 2)
        if len(table.groupby(list(pair))) == table[pair[0]].nunique() * table[pair[1]].nunique()
    ]
    seeds = [(SEED,)] if table[SEED].nunique() > 1 else []
    names = {**axes, SEED: SEED}
    return {" × ".join(names[one] for one in term): term for term in [*((one,) for one in varied), *crossed, *seeds]}
