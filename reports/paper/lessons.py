"""The paper's lessons as claims about comparisons, each with a verdict from these records.

A difference within the margin of the sweep (two one-sided tests) counts as none. So a claim that something helps is
*supported* by a difference in its direction that is significant and not within the margin, and *contradicted* by one in
the other direction or by one within the margin; a claim that something matters little is supported by a difference
within the margin, never by a large p, and contradicted by an interval that lies outside the margin. All else is *not
resolvable* with these data, and so is everything with one seed, which cannot distinguish an effect from the variation
between trainings. With more data a verdict can only leave "not resolvable".

A lesson is contradicted if any claim is, supported if every claim is, and not tested here where arms for a claim are
missing and the others do not contradict it. As one claim of k is enough to contradict, contradiction is tested at
5 % / k (Bonferroni), so that a true lesson is contradicted by chance in at most 5 % of sweeps; support must hold for
all claims and needs no such adjustment (Berger 1982, Technometrics 24:295).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.analysis import LEVEL
from reports.paper.beside import Beside, Compared
from reports.paper.published import Claim, Lesson
from reports.statistics import half_width

SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNRESOLVED, UNTESTED = "not resolvable with this much data", "not tested here"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A claim and its verdict."""

    claim: Claim
    compared: Compared
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A lesson and its verdict."""

    lesson: Lesson
    verdict: str
    claims: tuple[Tested, ...]

    @property
    def counts(self) -> str:
        """How its claims came out, such as ``5 claims: 4 supported, 1 contradicted``."""
        verdicts = [tested.verdict for tested in self.claims]
        order = (SUPPORTED, CONTRADICTED, UNRESOLVED, UNTESTED)
        said = [f"{verdicts.count(one)} {one.removesuffix(' with this much data')}" for one in order if one in verdicts]
        return f"{len(verdicts)} claim{'s' if len(verdicts) != 1 else ''}: {', '.join(said)}"


def lessons(beside: Beside) -> tuple[Verdict, ...]:
    """The verdicts on the lessons about something that the sweep varies, in the order of the paper."""
    found = []
    for lesson in beside.published.lessons:
        claims = [(claim, beside.find(claim.comparison, claim.column)) for claim in lesson.claims]
        level = LEVEL / max(1, sum(compared is not None for _, compared in claims))
        tested = [judge(claim, compared, level) for claim, compared in claims if compared is not None]
        if tested:
            found.append(
                Verdict(lesson=lesson, verdict=_together([one.verdict for one in tested]), claims=tuple(tested))
            )
    return tuple(found)


def paper_holds(tested: Tested, margin: float) -> bool:
    """Whether the paper's own difference is as claimed, by the same margin in points; it has no interval."""
    published = tested.compared.published
    if tested.claim.expected == "equivalent":
        return abs(published) < margin
    return published > 0 if tested.claim.expected == "higher" else published < 0


def judge(claim: Claim, compared: Compared, level: float) -> Tested:
    """What a comparison says about a claim. ``level``: significance level of a contradiction (a probability)."""
    difference = compared.difference
    if difference is None:
        return Tested(claim=claim, compared=compared, verdict=UNTESTED)
    margin, estimate = difference.margin, difference.estimate
    distance = abs(estimate.mean)
    if claim.expected == "equivalent":
        holds = difference.within
        fails = distance - half_width(estimate.parts, 1 - level) > margin
    else:
        holds = difference.verdict == claim.expected and not difference.within
        other_way = (estimate.mean > 0) != (claim.expected == "higher") and difference.p < level
        fails = other_way or distance + half_width(estimate.parts, 1 - 2 * level) < margin
    verdict = UNRESOLVED if estimate.seeds < 2 else SUPPORTED if holds else CONTRADICTED if fails else UNRESOLVED
    return Tested(claim=claim, compared=compared, verdict=verdict)


def _together(verdicts: Sequence[str]) -> str:
    for verdict in (CONTRADICTED, UNTESTED, UNRESOLVED):
        if verdict in verdicts:
            return verdict
    return SUPPORTED
