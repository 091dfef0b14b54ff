"""What an arm gains from demonstrations: its score at more shots minus that at fewer, paired by seed and item.

The items are the same at every number of shots, so the pairing is as close as that between arms. This asks whether *an
arm* uses demonstrations; whether it uses them better than another is answered by the differences between arms at 4 and
8 shots.
"""

from collections.abc import Mapping
from itertools import pairwise

from reports.analysis import Difference, Paired, judged
from reports.frame import Measure, Results
from reports.tables import Row, Table, difference_cell, spoken_margin

Step = tuple[Measure, Measure]
"""A measure at fewer shots and the same at more."""


def shot_steps(results: Results) -> list[Step]:
    """Neighbouring headline measures with the same tasks, in the order of shots."""
    return [(few, more) for few, more in pairwise(results.headline) if few.tasks == more.tasks]


def shot_gains(results: Results) -> dict[Step, Mapping[str, Difference]]:
    """For each step, the gains by arm key; p is adjusted over the arms by Holm. Arms without scores are left out."""
    gains: dict[Step, Mapping[str, Difference]] = {}
    for step in shot_steps(results):
        paired = {arm.key: one for arm in results.arms if (one := _paired(results, arm.key, step)) is not None}
        gains[step] = judged(results, paired)
    return gains


def shots_table(results: Results, gains: Mapping[Step, Mapping[str, Difference]]) -> Table:
    """The gains as a table; ``gains`` must not be empty."""
    rows = tuple(
        Row(
            label=arm.label,
            baseline=arm.baseline,
            seeds=f"{len(results.done(arm.key))}/{len(results.trials(arm.key))}",
            cells=tuple(difference_cell(known.get(arm.key), more) for (_, more), known in gains.items()),
        )
        for arm in results.arms
    )
    note = (
        "Difference of an arm's own scores, paired by seed and item, ± half-width of its 95 % interval. ▲ ▼: p < 0.05 "
        f"adjusted over the arms by Holm; ≈: within {spoken_margin(results.margin)} (two one-sided tests, 5 %); no "
        "mark: unclear."
    )
    return Table(
        name="shots",
        caption="What demonstrations give",
        columns=tuple(f"{more.label} over {few.label}" for few, more in gains),
        rows=rows,
        notes=(note,),
    )


def _paired(results: Results, arm: str, step: Step) -> Paired | None:
    few, more = step
    at_both = results.done(arm, few).keys() & results.done(arm, more).keys()
    trials = [results.done(arm, more)[seed] for seed in sorted(at_both)]
    if not trials:
        return None
    tables = [high - low for low, high in zip(results.strata(trials, few), results.strata(trials, more), strict=True)]
    if not all(table.shape[1] for table in tables):
        return None
    reach = None if more.bounds is None else more.bounds[1] - more.bounds[0]
    return Paired(tables=tables, bounds=None if reach is None else (-reach, reach))
