"""Arms by measures as tables: mean and half-width of the 95 % interval, the best in bold, the baseline marked, and
significant differences from it with their adjusted p. The tables have no format yet; ``reports/table_formats.py`` gives
them one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reports.analysis import Analysis, Difference
from reports.frame import Arm, Measure

ARROWS = {"higher": "▲", "lower": "▼", "equivalent": "≈"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One arm's value of one measure, in shown units; ``mean`` is ``None`` where there is none."""

    mean: float | None
    half_width: float | None
    best: bool = False
    verdict: str = ""
    """``higher`` or ``lower`` than the baseline with the adjusted ``p``, ``equivalent`` to it, or nothing."""
    p: float | None = None
    note: str = ""
    """Why there is no value, such as ``failed``."""
    signed: bool = False
    """Whether it is a difference."""
    text: str = ""
    """Words where the cell has no number."""

    @property
    def number(self) -> str:
        return "" if self.mean is None else f"{self.mean:+.1f}" if self.signed else f"{self.mean:.1f}"

    @property
    def width(self) -> str:
        return "" if self.half_width is None or self.half_width != self.half_width else f"{self.half_width:.1f}"


@dataclass(frozen=True, kw_only=True)
class Row:
    label: str
    baseline: bool
    seeds: str
    """Scored over planned seeds, such as ``2/3``, or the number of seeds of a difference."""
    cells: tuple[Cell, ...]
    heads: bool = False
    """Whether it is a heading of the rows below it, which may sum them up."""
    group: str = ""
    """Name of the group of adjacent rows that it belongs to, in a column of its own."""
    shaded: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that does not have a format yet."""

    name: str
    """File name without its ending."""
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    rows_are: str = "arm"
    """Head of the column of row labels."""
    groups_are: str = ""
    """Head of the column of group names, where there are any."""
    turned: bool = False
    """Whether the group names are rotated."""

    @property
    def seeded(self) -> bool:
        """Whether its numbers are over seeds: published numbers are not."""
        return any(row.seeds for row in self.rows)

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads of all columns after that of the groups."""
        return (self.rows_are, *(("seeds",) if self.seeded else ()), *self.columns)

    @property
    def parts(self) -> list[list[Row]]:
        """Its rows, split before each row that heads others and before each new group."""
        found: list[list[Row]] = []
        for row in self.rows:
            if not found or row.heads or row.group != found[-1][-1].group:
                found.append([])
            found[-1].append(row)
        return found


def headline_table(analysis: Analysis) -> Table:
    """All arms at the paper's columns."""
    title = str(analysis.results.plan["title"])
    return _table(analysis, analysis.results.headline, name="headline", caption=title)


def task_tables(analysis: Analysis) -> list[Table]:
    """One table per task: all arms at every metric and number of shots."""
    tables = []
    for task in dict.fromkeys(measure.tasks[0] for measure in analysis.results.details):
        measures = [measure for measure in analysis.results.details if measure.tasks[0] == task]
        tables.append(_table(analysis, measures, name=f"task_{task}", caption=task.replace("_", " ")))
    return tables


def effects_table(analysis: Analysis) -> Table:
    """The effect of every value of every axis at the paper's columns, the numbers of the effects figure."""
    measures = analysis.results.headline
    rows = []
    for effect in analysis.axis_effects:
        cells = [difference_cell(effect.differences.get(measure.key), measure) for measure in measures]
        seeds = {difference.estimate.seeds for difference in effect.differences.values()}
        rows.append(
            Row(
                label=f"{effect.axis}: {effect.value} against {effect.reference}",
                baseline=False,
                seeds=f"{min(seeds, default=0)}",
                cells=tuple(cells),
            )
        )
    note = (
        "Mean paired difference ± half-width of its 95 % interval, all else equal, averaged over every pair of arms "
        "that has both values. ▲ ▼: p < 0.05 adjusted over the rows by Holm; "
        f"≈: within {spoken_margin(analysis.results.margin)} (two one-sided tests, 5 %); no mark: unclear."
    )
    return Table(
        name="effects",
        caption="Effect of each axis",
        columns=heads(measures),
        rows=tuple(rows),
        notes=(note,),
        rows_are="effect",
    )


def difference_cell(difference: Difference | None, measure: Measure) -> Cell:
    """A difference with its interval, and its p where it is significant."""
    if difference is None:
        return Cell(mean=None, half_width=None, note="no scores")
    return Cell(
        mean=difference.estimate.mean * measure.scale,
        half_width=difference.estimate.half_width * measure.scale,
        verdict=difference.verdict if difference.verdict in ARROWS else "",
        p=difference.p_holm if difference.verdict in ("higher", "lower") else None,
        signed=True,
    )


def heads(measures: Sequence[Measure]) -> tuple[str, ...]:
    return tuple(measure.label if measure.unit == "%" else f"{measure.label} ({measure.unit})" for measure in measures)


def _table(analysis: Analysis, measures: Sequence[Measure], *, name: str, caption: str) -> Table:
    columns = [with_best([score_cell(analysis, arm, measure) for arm in analysis.results.arms]) for measure in measures]
    rows = [
        Row(
            label=arm.label,
            baseline=arm.baseline,
            seeds=seeds_of(analysis, arm),
            cells=tuple(column[number] for column in columns),
        )
        for number, arm in enumerate(analysis.results.arms)
    ]
    return Table(
        name=name,
        caption=caption,
        columns=heads(measures),
        rows=tuple(rows),
        notes=notes(analysis, measures),
    )


def seeds_of(analysis: Analysis, arm: Arm) -> str:
    """Scored over planned, such as ``2/3``."""
    return f"{len(analysis.results.done(arm.key))}/{len(analysis.results.trials(arm.key))}"


def notes(analysis: Analysis, measures: Sequence[Measure]) -> tuple[str, ...]:
    """What the numbers of a table of these measures mean, as sentences."""
    results = analysis.results
    if results.planned_seeds > 1:
        first = "Mean ± half-width of the 95 % interval over seeds and items; scores in percent, CIDEr-D as it is."
    else:
        first = (
            "Mean ± half-width of the 95 % interval over items; scores in percent, CIDEr-D as it is. One seed: "
            "differences hold for these trained models and say nothing about another training of the same arms."
        )
    second = (
        "▲ ▼ higher or lower than the baseline (†): paired by seed and item, p adjusted over the arms by Holm; "
        f"≈ within {spoken_margin(results.margin)} of it (two one-sided tests, 5 %); no mark: unclear. Bold: highest."
    )
    if results.baseline is None:
        second = "The sweep has no baseline, so no arm is compared with one. Bold: highest."
    return first, second, items_note(analysis, measures)


def items_note(analysis: Analysis, measures: Sequence[Measure]) -> str:
    """How many items stand behind each column; arms may have fewer."""
    counts = {
        measure.label: max(
            (mean.items for arm in analysis.results.arms if (mean := analysis.mean(arm, measure))), default=0
        )
        for measure in measures
    }
    if len(set(counts.values())) == 1:
        return f"Items of one seed: {max(counts.values()):,} in every column."
    return f"Items of one seed: {', '.join(f'{label} {count:,}' for label, count in counts.items())}."


def score_cell(analysis: Analysis, arm: Arm, measure: Measure) -> Cell:
    """An arm's mean with its interval, and its verdict against the baseline."""
    mean = analysis.mean(arm, measure)
    if mean is None:
        states = {trial.state for trial in analysis.results.trials(arm.key)} - {"done"}
        return Cell(mean=None, half_width=None, note=", ".join(sorted(states)) or "not evaluated")
    difference = analysis.difference(arm, measure)
    verdict = difference.verdict if difference and difference.verdict in ARROWS else ""
    return Cell(
        mean=mean.mean * measure.scale,
        half_width=mean.half_width * measure.scale,
        verdict=verdict,
        p=difference.p_holm if difference and verdict in ("higher", "lower") else None,
    )


def with_best(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with the highest value marked, along with all that show the same number; none where all of them do."""
    shown = [cell.number for cell in cells if cell.mean is not None]
    best = max(shown, key=float) if len(set(shown)) > 1 else None
    return tuple(replace(cell, best=cell.number == best) for cell in cells)


def spoken_margin(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def spoken_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
