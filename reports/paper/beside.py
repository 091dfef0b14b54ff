"""Every comparison of the paper that a sweep has arms for, made again with these arms; and the order of the settings.

Differences are paired (``reports/analysis.py``) and adjusted by Holm over the comparisons that bear on one lesson,
within one column. The paper's difference is taken over the same terms and with the same weights as ours, so that like
is compared with like where a sweep has only some of the arms. The paper's numbers have no intervals; ours are tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from reports.analysis import Analysis, Difference, compare, usable
from reports.frame import Measure
from reports.paper.counterparts import Counterparts, Matched
from reports.paper.published import Block, Comparison, Published, mm1


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A comparison at one column of the paper."""

    comparison: Comparison
    column: str
    measure: Measure | None
    """``None`` where the sweep's evaluations do not have the column."""
    published: float
    """The paper's difference, in points."""
    difference: Difference | None
    """Ours, in stored units; ``None`` where there are only gaps."""
    terms: int
    """How many of the comparison's terms have scored arms."""
    gaps: tuple[str, ...]
    """What is missing, one entry per reason; empty where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of a block's settings at one column, by pairs that have arms; the paper's ties are left out."""

    block: Block
    column: str
    settings: int
    seeds: int
    """Fewest of any pair."""
    pairs: int
    alike: int
    """Pairs whose means here are in the paper's order."""
    resolved: int
    """Pairs that differ here with adjusted p below 0.05."""
    resolved_alike: int


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A sweep beside the paper."""

    published: Published
    margin: float
    """The sweep's, in points."""
    comparisons: tuple[Compared, ...]
    """In the order of the paper's comparisons and columns; empty where the sweep varies nothing that the paper
    varied."""
    orders: tuple[Order, ...]
    repeated: tuple[Block, ...]
    """The blocks in which every setting that an arm can stand for has one."""

    def find(self, comparison: str, column: str) -> Compared | None:
        """The comparison at a column; ``None`` where the sweep varies nothing that its lesson is about."""
        return next(
            (one for one in self.comparisons if (one.comparison.name, one.column) == (comparison, column)), None
        )


def beside_the_paper(analysis: Analysis) -> Beside:
    """Compare a sweep with what MM1 published."""
    published = mm1()
    counterparts = Counterparts(analysis.results, published)
    measures = {measure.key: measure for measure in analysis.results.headline}
    scope = counterparts.in_scope()
    blocks = published.blocks if scope else ()
    found: dict[tuple[str, str], Compared] = {}
    orders: dict[tuple[str, str], Order] = {}
    for column, key in published.measures.items():
        measure = measures.get(key)
        for lesson in published.lessons:
            asked = [one for one in scope if one.lesson == lesson.name and column in one.columns]
            for compared in _compared(analysis, counterparts, published, asked, column, measure):
                found[compared.comparison.name, column] = compared
        for block in blocks:
            order = _order(analysis, counterparts, block, column, measure)
            if order is not None:
                orders[block.name, column] = order
    return Beside(
        published=published,
        margin=analysis.results.margin,
        comparisons=tuple(found[one.name, column] for one in scope for column in one.columns),
        orders=tuple(
            orders[block.name, column] for block in blocks for column in block.columns if (block.name, column) in orders
        ),
        repeated=tuple(
            block for block in blocks if all(counterparts.stands(setting) for setting in block.settings if setting.arms)
        ),
    )


def _compared(
    analysis: Analysis,
    counterparts: Counterparts,
    published: Published,
    comparisons: Sequence[Comparison],
    column: str,
    measure: Measure | None,
) -> list[Compared]:
    planned = {one.name: [counterparts.match(term) for term in one.terms] for one in comparisons}
    used = {name: _used(analysis, terms, measure) for name, terms in planned.items()}
    contrasts = {name: [one.contrast for matched in terms for one in matched] for name, terms in used.items()}
    differences = {} if measure is None else compare(analysis.results, contrasts, measure)
    answers = []
    for one in comparisons:
        parts = [matched.term for terms in used[one.name] for matched in terms]
        gaps = [
            f"no scores for {' or '.join(term)}" if matched else counterparts.gap(term)
            for term, matched, scores in zip(one.terms, planned[one.name], used[one.name], strict=True)
            if not scores
        ]
        if measure is None:
            gaps = [f"{column} was not evaluated"]
        elif parts and one.name not in differences:
            gaps.append("the arms have no seed or no item in common")
        answers.append(
            Compared(
                comparison=one,
                column=column,
                measure=measure,
                published=published.difference(parts or one.terms, column),
                difference=differences.get(one.name),
                terms=sum(map(bool, used[one.name])),
                gaps=tuple(dict.fromkeys(gaps)),
            )
        )
    return answers


def _used(analysis: Analysis, terms: Sequence[Sequence[Matched]], measure: Measure | None) -> list[list[Matched]]:
    """For each term, the matches that can be averaged at a measure."""
    contrasts = [one.contrast for matched in terms for one in matched]
    kept = [] if measure is None else usable(analysis.results, contrasts, measure)
    return [[one for one in matched if any(one.contrast is other for other in kept)] for matched in terms]


def _order(
    analysis: Analysis, counterparts: Counterparts, block: Block, column: str, measure: Measure | None
) -> Order | None:
    if measure is None or column not in block.columns:
        return None
    contrasts = {}
    for pair in combinations(block.settings, 2):
        if pair[0].scores[column] != pair[1].scores[column]:
            higher, lower = (one.name for one in sorted(pair, key=lambda setting: -setting.scores[column]))
            contrasts[higher, lower] = [one.contrast for one in counterparts.match({higher: 1.0, lower: -1.0})]
    differences = compare(analysis.results, contrasts, measure)
    settings = {name for pair in differences for name in pair}
    if len(settings) < 3:
        return None  # the order of two is the sign of their difference
    resolved = [one.verdict for one in differences.values() if one.verdict in ("higher", "lower")]
    return Order(
        block=block,
        column=column,
        settings=len(settings),
        seeds=min(one.estimate.seeds for one in differences.values()),
        pairs=len(differences),
        alike=sum(one.estimate.mean > 0 for one in differences.values()),
        resolved=len(resolved),
        resolved_alike=resolved.count("higher"),
    )
