"""Everything that a report shows as frames for other programs, each written as CSV and as Parquet.

Numbers are in stored units (fractions; CIDEr-D as it is), published numbers in points as printed; an unknown p is
empty.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO

import pandas as pd

from reports.analysis import Analysis, Difference
from reports.frame import Measure
from reports.interactions import Interaction
from reports.paper.beside import Beside
from reports.paper.lessons import Verdict
from reports.power import Sight
from reports.shots import Step
from reports.variance import Shares

_DIFFERENCE = ("measure", "difference", "low", "high", "p", "p_holm", "verdict", "within", "seeds", "items")


def frames(
    analysis: Analysis,
    *,
    gains: Mapping[Step, Mapping[str, Difference]],
    crossed: Sequence[Interaction],
    shares: Mapping[str, Shares],
    seen: Sequence[Sight],
    beside: Beside,
    verdicts: Sequence[Verdict],
) -> dict[str, pd.DataFrame]:
    """The frames by file name without suffix. ``shares`` is by measure key. Empty frames other than ``scores`` and
    ``differences`` are left out."""
    found = {
        "scores": analysis.results.frame,
        "differences": _differences(analysis),
        "effects": _effects(analysis),
        "shots": _shots(gains, analysis),
        "interactions": _interactions(crossed, analysis.results.headline),
        "variance": _variance(shares),
        "power": _power(seen),
        "beside_paper": _beside(beside),
        "lessons": _lessons(verdicts),
    }
    always = ("scores", "differences")
    return {name: frame for name, frame in found.items() if name in always or len(frame)}


def csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def parquet(frame: pd.DataFrame) -> bytes:
    """Equal frames give equal bytes, from the same version of Arrow."""
    buffer = BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


def _difference(difference: Difference | None, measure: str) -> tuple[object, ...]:
    if difference is None:
        return (measure, *(None for _ in _DIFFERENCE[1:]))
    estimate = difference.estimate
    return (
        measure,
        estimate.mean,
        estimate.low,
        estimate.high,
        difference.p,
        difference.p_holm,
        difference.verdict,
        difference.within,
        estimate.seeds,
        estimate.items,
    )


def _differences(analysis: Analysis) -> pd.DataFrame:
    """Every difference from the baseline."""
    labels = {arm.key: arm.label for arm in analysis.results.arms}
    rows = [
        (arm, labels[arm], *_difference(difference, key)) for (arm, key), difference in analysis.differences.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "label", *_DIFFERENCE])


def _effects(analysis: Analysis) -> pd.DataFrame:
    rows = [
        (effect.axis, effect.value, effect.reference, effect.pairs, *_difference(difference, key))
        for effect in analysis.axis_effects
        for key, difference in effect.differences.items()
    ]
    return pd.DataFrame(rows, columns=["axis", "value", "reference", "pairs", *_DIFFERENCE])


def _shots(gains: Mapping[Step, Mapping[str, Difference]], analysis: Analysis) -> pd.DataFrame:
    """How much higher an arm scores at more shots than at fewer."""
    labels = {arm.key: arm.label for arm in analysis.results.arms}
    rows = [
        (arm, labels[arm], few.key, *_difference(difference, more.key))
        for (few, more), known in gains.items()
        for arm, difference in known.items()
    ]
    return pd.DataFrame(rows, columns=["arm", "label", "over", *_DIFFERENCE])


def _interactions(crossed: Sequence[Interaction], measures: Sequence[Measure]) -> pd.DataFrame:
    """All interactions; the table on the page is cut."""
    rows = [
        (*one.axes, *one.values, *one.references, *_difference(one.differences[measure.key], measure.key))
        for one in crossed
        for measure in measures
        if measure.key in one.differences
    ]
    names = [f"{part} {number}" for part in ("axis", "value", "reference") for number in (1, 2)]
    return pd.DataFrame(rows, columns=[*names, *_DIFFERENCE])


def _variance(shares: Mapping[str, Shares]) -> pd.DataFrame:
    rows = [(key, term, one.share, one.p) for key, terms in shares.items() for term, one in terms.items()]
    return pd.DataFrame(rows, columns=["measure", "term", "share", "p_holm"])


def _power(seen: Sequence[Sight]) -> pd.DataFrame:
    rows = [(one.measure.key, one.comparisons, one.least_seeds, one.typical, one.worst, one.seeds) for one in seen]
    frame = pd.DataFrame(rows, columns=["measure", "comparisons", "least_seeds", "typical", "worst", "seeds_needed"])
    return frame.astype({"seeds_needed": "Int64"})


def _beside(beside: Beside) -> pd.DataFrame:
    rows = [
        (
            one.comparison.name,
            one.comparison.label,
            one.comparison.source,
            one.column,
            one.published,
            "; ".join(one.gaps),
            *_difference(one.difference, one.measure.key if one.measure else ""),
        )
        for one in beside.comparisons
    ]
    return pd.DataFrame(
        rows, columns=["comparison", "label", "source", "column", "published_points", "missing", *_DIFFERENCE]
    )


def _lessons(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    rows = [
        (
            verdict.lesson.name,
            verdict.lesson.statement,
            verdict.verdict,
            tested.claim.comparison,
            tested.claim.column,
            tested.claim.expected,
            tested.verdict,
        )
        for verdict in verdicts
        for tested in verdict.claims
    ]
    columns = ["lesson", "statement", "lesson_verdict", "comparison", "column", "expected", "verdict"]
    return pd.DataFrame(rows, columns=columns)
