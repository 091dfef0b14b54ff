"""Whether the effect of one axis depends on the value of another: differences of differences, paired like any other.

For two axes and a value of each, (both changed - the first alone) - (the second alone - neither), against the axes'
reference values, all else equal, averaged over every set of four such arms. Zero means that the two effects add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from reports.analysis import Contrast, Difference, compare, reference_values
from reports.frame import Arm, Results
from reports.tables import Row, Table, difference_cell, heads, spoken_margin

MOST_ROWS = 60
"""Most rows of the table; those of the first pairs of axes are shown."""


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """One value of each of two axes against the reference values."""

    axes: tuple[str, str]
    values: tuple[str, str]
    references: tuple[str, str]
    differences: Mapping[str, Difference]
    """By measure key; p is adjusted over all interactions of the sweep at a measure."""


def interactions(results: Results) -> list[Interaction]:
    """The interactions of every pair of axes that the arms cross, in the plan's order; none for one-at-a-time
    designs."""
    references = reference_values(results)
    contrasts = {
        (axes, values): squares
        for axes in combinations([axis["name"] for axis in results.plan["axes"]], 2)
        for values, squares in _squares(results.arms, axes, (references[axes[0]], references[axes[1]])).items()
    }
    found: dict[tuple[tuple[str, str], tuple[str, str]], dict[str, Difference]] = {key: {} for key in contrasts}
    for measure in results.headline:
        for key, difference in compare(results, contrasts, measure).items():
            found[key][measure.key] = difference
    return [
        Interaction(axes=axes, values=values, references=(references[axes[0]], references[axes[1]]), differences=known)
        for (axes, values), known in found.items()
        if known
    ]


def interactions_table(found: Sequence[Interaction], results: Results) -> Table:
    """The interactions as a table; ``found`` must not be empty."""
    rows = tuple(
        Row(
            label=f"{one.axes[0]}: {one.values[0]} against {one.references[0]}, "
            f"by {one.axes[1]}: {one.values[1]} against {one.references[1]}",
            baseline=False,
            seeds=str(min(difference.estimate.seeds for difference in one.differences.values())),
            cells=tuple(difference_cell(one.differences.get(measure.key), measure) for measure in results.headline),
        )
        for one in found[:MOST_ROWS]
    )
    notes = [
        "By how much the effect of the first changes where the second is changed too (difference of differences), ± "
        "half-width of its 95 % interval; 0: the effects add up. ▲ ▼: p < 0.05 adjusted over the rows by Holm; "
        f"≈: within {spoken_margin(results.margin)} (two one-sided tests, 5 %); no mark: unclear."
    ]
    if len(found) > MOST_ROWS:
        notes.append(f"The first {MOST_ROWS} of {len(found)}; p is adjusted over all of them.")
    return Table(
        name="interactions",
        caption="Interactions",
        columns=heads(results.headline),
        rows=rows,
        notes=tuple(notes),
        rows_are="interaction",
    )


def _squares(
    arms: Sequence[Arm], axes: tuple[str, str], references: tuple[str, str]
) -> dict[tuple[str, str], list[Contrast]]:
    """By a value of each axis, the contrasts of every set of four arms that are alike on all other axes."""
    first, second = axes
    placed = {
        (arm.values[first], arm.values[second], _rest(arm, axes)): arm.key
        for arm in arms
        if first in arm.values and second in arm.values
    }
    squares: dict[tuple[str, str], list[Contrast]] = {}
    for (one, other, rest), both in placed.items():
        if one == references[0] or other == references[1]:
            continue
        alone = placed.get((one, references[1], rest)), placed.get((references[0], other, rest))
        neither = placed.get((*references, rest))
        if alone[0] and alone[1] and neither:
            contrast = {both: 1.0, alone[0]: -1.0, alone[1]: -1.0, neither: 1.0}
            squares.setdefault((one, other), []).append(contrast)
    return squares


def _rest(arm: Arm, axes: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in arm.values.items() if name not in axes)
