"""A sweep beside the paper and the lessons as tables, in the forms that all tables of a report have."""

from dataclasses import replace

from reports.analysis import Difference
from reports.frame import Measure
from reports.paper.beside import Beside, Compared, Order
from reports.paper.lessons import Tested, Verdict, paper_holds
from reports.paper.published import Block
from reports.tables import Cell, Row, Table, difference_cell, spoken_margin, spoken_p, with_best

_NOT_EVIDENCE = "Agreement in a small world is a check of the platform, not evidence about MM1."


def beside_table(beside: Beside) -> Table:
    """Every comparison, with a row for each column below it; a single row where none of it could be tested."""
    rows: list[Row] = []
    for comparison in dict.fromkeys(one.comparison.name for one in beside.comparisons):
        compared = [one for one in beside.comparisons if one.comparison.name == comparison]
        rows.append(_head(compared))
        if any(one.difference for one in compared):
            rows += [_row(one) for one in compared]
    notes = (
        "here: mean paired difference ± half-width of its 95 % interval, in points, over the arms that stand for the "
        "paper's settings. ▲ ▼: p < 0.05, adjusted by Holm over the comparisons of one lesson at one column; "
        f"≈: within {spoken_margin(beside.margin)} (two one-sided tests, 5 %). The paper gives no intervals.",
        "size: ours over the paper's, where ours is told apart from zero. The tasks differ, so a sign can agree and a "
        f"size says little. {_NOT_EVIDENCE}",
    )
    return Table(
        name="beside_paper",
        caption=f"Beside {beside.published.paper}: differences in points",
        columns=("MM1", "here", "same sign", "size", "missing"),
        rows=tuple(rows),
        notes=notes,
        rows_are="comparison",
    )


def published_encoders(block: Block) -> Table:
    """The paper's Table 1, row by row as printed."""
    columns = [
        with_best([Cell(mean=setting.scores[column], half_width=None) for setting in block.settings])
        for column in block.columns
    ]
    rows = []
    for number, setting in enumerate(block.settings):
        group, name, *facts = setting.row
        cells = (*map(_text, facts), *(column[number] for column in columns))
        rows.append(Row(group=group, label=name, baseline=False, seeds="", cells=cells))
    return Table(
        name="encoder_published",
        caption=f"MM1 (published), {block.source}: {block.title}",
        columns=("architecture", "image resolution", "data", *block.columns),
        rows=tuple(rows),
        notes=(f"Not from this sweep. {block.provenance}",),
        rows_are="encoder",
        groups_are="objective",
        turned=True,
    )


def order_table(beside: Beside) -> Table:
    """Whether the settings of a figure stand in the paper's order."""
    notes = (
        "By pairs of settings that have arms, the paper's ties left out. by means: pairs whose means here are in the "
        "paper's order. told apart: pairs that differ here with p < 0.05, adjusted by Holm over the pairs; same order: "
        "whether all of these are in the paper's.",
    )
    return Table(
        name="beside_paper_order",
        caption=f"Beside {beside.published.paper}: the order of the settings",
        columns=("column", "by means", "told apart", "of these as in MM1", "same order"),
        rows=tuple(_order(order) for order in beside.orders),
        notes=notes,
        rows_are="settings",
    )


def lessons_table(verdicts: tuple[Verdict, ...], margin: float) -> Table:
    """A row for each lesson with its verdict, and below it its claims with the numbers behind it. ``margin``: the
    sweep's, in points."""
    rows = []
    for verdict in verdicts:
        label = f"{verdict.lesson.statement} ({verdict.lesson.source})"
        cells = (*(_text(""),) * 5, _text(verdict.verdict))
        rows.append(Row(label=label, baseline=False, heads=True, seeds="", cells=cells))
        rows += [_claim(tested, margin) for tested in verdict.claims]
    spoken = spoken_margin(margin)
    notes = (
        f"MM1: the paper's difference in points; * its own number does not bear the claim out by a margin of {spoken}. "
        "here: mean paired difference ± half-width of its 95 % interval; p adjusted by Holm over the comparisons of "
        f"the lesson at one column; within: inside {spoken} of zero by two one-sided tests at 5 %.",
        f"higher, lower: supported if p < 0.05 in that direction and not within {spoken}; contradicted if in the "
        f"other, or within. equivalent: supported if within, contradicted if the interval lies outside {spoken}. Else, "
        "and with one seed, the data do not resolve it; what contradicts is tested at 5 % over the number of the "
        "lesson's claims. A lesson needs every claim; one contradicted claim contradicts "
        f"it. {_NOT_EVIDENCE}",
    )
    return Table(
        name="lessons",
        caption="The lessons of MM1 in these records",
        columns=("claimed", "MM1", "here", "p", f"within {spoken}", "verdict"),
        rows=tuple(rows),
        notes=notes,
        rows_are="lesson, and its claims",
    )


def _head(compared: list[Compared]) -> Row:
    one = compared[0]
    cells = (_text(""),) * 4
    gaps = ""
    if not any(shown.difference for shown in compared):
        published = ", ".join(f"{shown.column} {shown.published:+.1f}" for shown in compared)
        cells = (_text(published), _text("not tested"), _text(""), _text(""))
        gaps = "; ".join(dict.fromkeys(gap for shown in compared for gap in shown.gaps))
    label = f"{one.comparison.label} ({one.comparison.source})"
    return Row(label=label, baseline=False, heads=True, seeds="", cells=(*cells, _text(gaps)))


def _row(one: Compared) -> Row:
    published = Cell(mean=one.published, half_width=None, signed=True)
    if one.difference is None or one.measure is None:
        cells = (published, _text("not tested"), _text(""), _text(""))
    else:
        sign, size = _agreement(one.difference, one.measure, one.published)
        cells = (published, _difference(one.difference, one.measure), _text(sign), _text(size))
    seeds = str(one.difference.estimate.seeds) if one.difference else ""
    return Row(label=one.column, baseline=False, seeds=seeds, cells=(*cells, _text("; ".join(one.gaps))))


def _agreement(difference: Difference, measure: Measure, published: float) -> tuple[str, str]:
    """Whether the sign is the paper's, and our size over the paper's, where ours differs significantly from zero."""
    if difference.verdict == "equivalent":
        return "none here", "≈ 0"
    if difference.verdict == "unclear":
        return "unclear", "unclear"
    ours = difference.estimate.mean * measure.scale
    if abs(published) < 0.05:  # it is printed as 0.0
        return "none in MM1", "–"
    ratio = f"× {abs(ours / published):.2g}" if measure.unit == "%" else "–"
    return "yes" if ours * published > 0 else "no", ratio


def _order(order: Order) -> Row:
    same = "unclear" if not order.resolved else "yes" if order.resolved_alike == order.resolved else "no"
    return Row(
        label=f"{order.settings} settings of {order.block.source}",
        baseline=False,
        seeds=str(order.seeds),
        cells=tuple(
            _text(text)
            for text in (
                order.column,
                f"{order.alike} of {order.pairs}",
                f"{order.resolved} of {order.pairs}",
                f"{order.resolved_alike} of {order.resolved}" if order.resolved else "–",
                same,
            )
        ),
    )


def _claim(tested: Tested, margin: float) -> Row:
    compared = tested.compared
    published = f"{compared.published:+.1f}{'' if paper_holds(tested, margin) else '*'}"
    gaps = f": {'; '.join(compared.gaps)}" if compared.gaps else ""
    seeds, ours = "", (_text(""), _text(""), _text(""))
    if compared.difference is not None and compared.measure is not None:
        seeds = str(compared.difference.estimate.seeds)
        p = spoken_p(compared.difference.p_holm).removeprefix("p ").removeprefix("= ")
        within = "yes" if compared.difference.within else "no"
        ours = (_difference(compared.difference, compared.measure), _text(p), _text(within))
    return Row(
        label=f"{compared.comparison.label}: {compared.column}",
        baseline=False,
        seeds=seeds,
        cells=(_text(tested.claim.expected), _text(published), *ours, _text(tested.verdict + gaps)),
    )


def _difference(difference: Difference, measure: Measure) -> Cell:
    """The difference without its p, which has a column of its own or belongs to a lesson."""
    return replace(difference_cell(difference, measure), p=None)


def _text(text: str) -> Cell:
    return Cell(mean=None, half_width=None, text=text)
