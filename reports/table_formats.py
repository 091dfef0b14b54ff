"""Tables as HTML, Markdown and LaTeX (booktabs). Every text that comes from a user is escaped for its format."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from reports.tables import ARROWS, Cell, Row, Table, spoken_p


def to_html(table: Table) -> str:
    """A ``<table>`` without style of its own. Each column head is a button that sorts by the column, within each part
    of the table; numbers are sorted by the attribute ``data-value``."""
    head = f'<th scope="col">{escape(table.groups_are)}</th>' if table.groups_are else ""
    head += "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(column)}</button></th>'
        for column in table.heads
    )
    bodies = "".join(f"<tbody>{''.join(_html_rows(table, rows))}</tbody>" for rows in table.parts)
    foot = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    width = len(table.heads) + bool(table.groups_are)
    return (
        f"<table><caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead>{bodies}"
        f'<tfoot><tr><td colspan="{width}">{foot}</td></tr></tfoot></table>'
    )


def _html_rows(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    for place, row in enumerate(rows):
        group = ""
        if table.groups_are and place == 0:
            turned = " class=turned" if table.turned else ""
            group = f'<th scope="rowgroup" rowspan="{len(rows)}"{turned}><span>{escape(row.group)}</span></th>'
        label = escape(row.label) + (' <span class="mark" title="the baseline">†</span>' if row.baseline else "")
        seeds = f"<td>{escape(row.seeds)}</td>" if table.seeded else ""
        cells = "".join(f"<td{_html_attributes(cell)}>{_html_cell(cell)}</td>" for cell in row.cells)
        kinds = {"baseline": row.baseline, "head": row.heads, "shaded": row.shaded}
        kind = next((f" class={name}" for name, is_one in kinds.items() if is_one), "")
        yield f'<tr{kind}>{group}<th scope="row">{label}</th>{seeds}{cells}</tr>'


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
    stub = (table.groups_are,) if table.groups_are else ()
    aligned = " :-- |" * len((*stub, table.rows_are)) + " --: |" * table.seeded
    lines = [
        f"**{_markdown(table.caption)}**",
        "",
        "| " + " | ".join(map(_markdown, (*stub, *table.heads))) + " |",
        f"|{aligned}" + "".join(" :-- |" if wordy else " --: |" for wordy in _wordy(table)),
    ]
    for row in (row for rows in table.parts for row in rows):
        label = f"**{_markdown(row.label)}**" if row.heads else _markdown(row.label) + (" †" if row.baseline else "")
        group = (_markdown(row.group),) if table.groups_are else ()
        seeds = (row.seeds,) if table.seeded else ()
        lines.append("| " + " | ".join((*group, label, *seeds, *map(_markdown_cell, row.cells))) + " |")
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
    """A ``table`` environment. Its first line names the packages that it needs."""
    packages = ["booktabs"]
    packages += ["multirow"] if table.groups_are else []
    packages += ["graphicx"] if table.turned else []
    packages += ["[table]xcolor"] if any(row.shaded for row in table.rows) else []
    columns = ("l" if table.groups_are else "") + "l" + "r" * table.seeded
    stub = ("" if table.turned else _latex(table.groups_are),) if table.groups_are else ()
    lines = [
        f"% packages: {', '.join(packages)}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{{columns}" + "".join("l" if wordy else "r" for wordy in _wordy(table)) + "}",
        r"\toprule",
        " & ".join((*stub, *map(_latex, table.heads))) + r" \\",
        r"\midrule",
    ]
    for number, rows in enumerate(table.parts):
        if number and table.groups_are:
            lines.append(r"\midrule")
        lines += _latex_rows(table, rows)
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\footnotesize"]
    lines += [_latex(note) for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_rows(table: Table, rows: Sequence[Row]) -> Iterator[str]:
    for place, row in enumerate(rows):
        label = _latex(row.label) + (r"\textsuperscript{\textdagger}" if row.baseline else "")
        label = rf"\textbf{{{label}}}" if row.heads else label
        cells = [label, *((_latex(row.seeds),) if table.seeded else ()), *map(_latex_cell, row.cells)]
        if row.shaded:
            cells = [rf"\cellcolor[HTML]{{{_SHADE}}}{cell}" for cell in cells]
        if table.groups_are:
            name = rf"\rotatebox[origin=c]{{90}}{{{_latex(row.group)}}}" if table.turned else _latex(row.group)
            cells.insert(0, rf"\multirow{{{len(rows)}}}{{*}}{{{name}}}" if place == 0 else "")
        yield " & ".join(cells) + r" \\"


_SHADE = "F2EBE8"
"""The paper's colour for its rows at 8 shots."""
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
    """For each column, whether it has words rather than numbers."""
    return [any(row.cells[number].text for row in table.rows) for number in range(len(table.columns))]
