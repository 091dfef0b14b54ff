"""Arms by measures as tables: mean and half-width of the 95 % interval, the best in bold, the baseline marked, and the
differences to it that are significant with their adjusted p. As HTML, Markdown and LaTeX (booktabs).

Every text that comes from a user is escaped for the format it goes into.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from reports.analysis import Analysis
from reports.frame import Arm, Measure

_ARROWS = {"higher": "▲", "lower": "▼", "equivalent": "≈"}


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
    """Scored over planned seeds, such as ``2/3``, or those that a difference is over."""
    cells: tuple[Cell, ...]
    heads: bool = False
    """Whether it sums up the rows below it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table before it has a format."""

    name: str
    """File name without its ending."""
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    rows_are: str = "arm"
    """Head of the rows' labels."""


def headline_table(analysis: Analysis) -> Table:
    """All arms at the paper's columns."""
    title = str(analysis.results.plan["title"])
    return _table(analysis, analysis.results.headline, name="headline", caption=title)


def task_tables(analysis: Analysis) -> list[Table]:
    """Per task all arms at every metric and number of shots."""
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
        cells = []
        for measure in measures:
            difference = effect.differences.get(measure.key)
            if difference is None:
                cells.append(Cell(mean=None, half_width=None, note="no scores"))
                continue
            cells.append(
                Cell(
                    mean=difference.estimate.mean * measure.scale,
                    half_width=difference.estimate.half_width * measure.scale,
                    verdict=difference.verdict if difference.verdict in _ARROWS else "",
                    p=difference.p_holm if difference.verdict in ("higher", "lower") else None,
                    signed=True,
                )
            )
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
        columns=_heads(measures),
        rows=tuple(rows),
        notes=(note,),
        rows_are="effect",
    )


def _heads(measures: Sequence[Measure]) -> tuple[str, ...]:
    return tuple(measure.label if measure.unit == "%" else f"{measure.label} ({measure.unit})" for measure in measures)


def _table(analysis: Analysis, measures: Sequence[Measure], *, name: str, caption: str) -> Table:
    columns = [_column([_cell(analysis, arm, measure) for arm in analysis.results.arms]) for measure in measures]
    rows = [
        Row(
            label=arm.label,
            baseline=arm.baseline,
            seeds=f"{len(analysis.results.done(arm.key))}/{len(analysis.results.trials(arm.key))}",
            cells=tuple(column[number] for column in columns),
        )
        for number, arm in enumerate(analysis.results.arms)
    ]
    return Table(
        name=name,
        caption=caption,
        columns=_heads(measures),
        rows=tuple(rows),
        notes=notes(analysis),
    )


def notes(analysis: Analysis) -> tuple[str, ...]:
    """What the numbers of the tables mean, as sentences."""
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
    return first, second


def _cell(analysis: Analysis, arm: Arm, measure: Measure) -> Cell:
    mean = analysis.mean(arm, measure)
    if mean is None:
        states = {trial.state for trial in analysis.results.trials(arm.key)} - {"done"}
        return Cell(mean=None, half_width=None, note=", ".join(sorted(states)) or "not evaluated")
    difference = analysis.difference(arm, measure)
    verdict = difference.verdict if difference and difference.verdict in _ARROWS else ""
    return Cell(
        mean=mean.mean * measure.scale,
        half_width=mean.half_width * measure.scale,
        verdict=verdict,
        p=difference.p_holm if difference and verdict in ("higher", "lower") else None,
    )


def _column(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells with the highest value marked, and with it all that are shown as the same number."""
    shown = [cell.number for cell in cells if cell.mean is not None]
    best = max(shown, key=float, default="")
    return tuple(replace(cell, best=len(shown) > 1 and cell.number == best) for cell in cells)


def _wordy(table: Table) -> list[bool]:
    """Whether a column is of words rather than numbers."""
    return [any(row.cells[number].text for row in table.rows) for number in range(len(table.columns))]


def spoken_margin(points: float) -> str:
    return f"{points:g} point{'' if points == 1 else 's'}"


def spoken_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def to_html(table: Table) -> str:
    """A ``<table>`` without style of its own. Each head of a column is a button for sorting by it, unless rows sum up
    others; numbers are sorted by the attribute ``data-value``."""
    grouped = any(row.heads for row in table.rows)
    head = "".join(_html_head(column, grouped) for column in (table.rows_are, "seeds", *table.columns))
    body = []
    for row in table.rows:
        label = escape(row.label) + (' <span class="mark" title="the baseline">†</span>' if row.baseline else "")
        cells = "".join(f"<td{_html_attributes(cell)}>{_html_cell(cell)}</td>" for cell in row.cells)
        kind = " class=baseline" if row.baseline else " class=head" if row.heads else ""
        body.append(f'<tr{kind}><th scope="row">{label}</th><td>{escape(row.seeds)}</td>{cells}</tr>')
    foot = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    return (
        f"<table><caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody>"
        f'<tfoot><tr><td colspan="{len(table.columns) + 2}">{foot}</td></tr></tfoot></table>'
    )


def _html_head(column: str, grouped: bool) -> str:
    if grouped:
        return f'<th scope="col">{escape(column)}</th>'
    return f'<th scope="col" aria-sort="none"><button type="button">{escape(column)}</button></th>'


def _html_attributes(cell: Cell) -> str:
    if cell.text:
        return " class=wrap"
    return "" if cell.mean is None else f' data-value="{cell.mean:.6g}"'


def _html_cell(cell: Cell) -> str:
    if cell.text:
        return escape(cell.text)
    if cell.mean is None:
        return f'<span class="none">{escape(cell.note)}</span>'
    text = f"<b>{cell.number}</b>" if cell.best else cell.number
    if cell.width:
        text += f' <span class="width">± {cell.width}</span>'
    if cell.verdict:
        p = "" if cell.p is None else f" {escape(spoken_p(cell.p))}"
        text += f' <span class="{cell.verdict}">{_ARROWS[cell.verdict]}{p}</span>'
    return text


def to_markdown(table: Table) -> str:
    lines = [
        f"**{_markdown(table.caption)}**",
        "",
        "| " + " | ".join((table.rows_are, "seeds", *map(_markdown, table.columns))) + " |",
        "| :-- | --: |" + "".join(" :-- |" if wordy else " --: |" for wordy in _wordy(table)),
    ]
    for row in table.rows:
        label = f"**{_markdown(row.label)}**" if row.heads else _markdown(row.label) + (" †" if row.baseline else "")
        lines.append("| " + " | ".join((label, row.seeds, *map(_markdown_cell, row.cells))) + " |")
    return "\n".join([*lines, "", *(_markdown(note) + "  " for note in table.notes)]).rstrip() + "\n"


def _markdown_cell(cell: Cell) -> str:
    if cell.text:
        return _markdown(cell.text)
    if cell.mean is None:
        return f"*{_markdown(cell.note)}*" if cell.note else ""
    text = f"**{cell.number}**" if cell.best else cell.number
    if cell.width:
        text += f" ± {cell.width}"
    if cell.verdict:
        text += f" {_ARROWS[cell.verdict]}" + ("" if cell.p is None else f" ({_markdown(spoken_p(cell.p))})")
    return text


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#~$])", r"\\\1", " ".join(text.split()))


def to_latex(table: Table) -> str:
    """A ``table`` environment; needs the packages booktabs and textcomp's symbols of any current LaTeX."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}}}",
        r"\begin{tabular}{lr" + "".join("l" if wordy else "r" for wordy in _wordy(table)) + "}",
        r"\toprule",
        " & ".join((table.rows_are, "seeds", *map(_latex, table.columns))) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        label = _latex(row.label) + (r"\textsuperscript{\textdagger}" if row.baseline else "")
        label = rf"\textbf{{{label}}}" if row.heads else label
        lines.append(" & ".join((label, row.seeds, *map(_latex_cell, row.cells))) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\footnotesize"]
    lines += [_latex(note) for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


_LATEX_ARROWS = {"higher": r"\uparrow", "lower": r"\downarrow", "equivalent": r"\approx"}
_LATEX_ESCAPES: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "†": r"\textdagger{}",
}


def _latex_cell(cell: Cell) -> str:
    if cell.text:
        return _latex(cell.text)
    if cell.mean is None:
        return rf"\textit{{{_latex(cell.note)}}}" if cell.note else ""
    number = rf"\mathbf{{{cell.number}}}" if cell.best else cell.number
    text = number + (rf" \pm {cell.width}" if cell.width else "")
    if cell.verdict:
        text += rf"\ {_LATEX_ARROWS[cell.verdict]}"
    p = "" if cell.p is None else rf" {{\scriptsize (${spoken_p(cell.p)}$)}}"
    return f"${text}${p}"


def _latex(text: str) -> str:
    return "".join(_LATEX_ESCAPES.get(character, character) for character in " ".join(text.split()))
