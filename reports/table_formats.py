"""Tables as HTML, Markdown and LaTeX (booktabs). Every text that comes from a user is escaped for its format."""

import re
from collections.abc import Mapping
from html import escape

from reports.tables import ARROWS, Cell, Table, spoken_p


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
        text += f' <span class="{cell.verdict}">{ARROWS[cell.verdict]}{p}</span>'
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
        text += f" {ARROWS[cell.verdict]}" + ("" if cell.p is None else f" ({_markdown(spoken_p(cell.p))})")
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


def _wordy(table: Table) -> list[bool]:
    """Whether a column is of words rather than numbers."""
    return [any(row.cells[number].text for row in table.rows) for number in range(len(table.columns))]
