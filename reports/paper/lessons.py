"""The paper's lessons as claims about comparisons, each with a verdict from these records.

A difference within the margin of the sweep (two one-sided tests) counts as none. So a claim that something
helps is *supported* by a difference in its direction that is significant and not within the margin, and *contradicted*
by one in the other direction or by one within the margin; a claim that something matters little is supported by a
difference within the margin, never by a large p, and contradicted by an interval that lies outside the margin. All else
is *not resolvable* with these data, and so is everything with one seed, which cannot tell an effect from another
training. With more data a verdict can only leave "not resolvable".

A lesson is contradicted if any claim is, supported if every claim is, and not tested here where arms for a claim are
missing and the others do not contradict it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.paper.beside import Beside, Compared
from reports.paper.published import Claim, Lesson

SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNRESOLVED, UNTESTED = "not resolvable with this much data", "not tested here"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A claim and what became of it."""

    claim: Claim
    compared: Compared
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A lesson and what became of it."""

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
    """Those lessons about something that the sweep varies, in the order of the paper."""
    found = []
    for lesson in beside.published.lessons:
        claims = [(claim, beside.find(claim.comparison, claim.column)) for claim in lesson.claims]
        tested = [_test(claim, compared) for claim, compared in claims if compared is not None]
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


def _test(claim: Claim, compared: Compared) -> Tested:
    difference = compared.difference
    if difference is None:
        return Tested(claim=claim, compared=compared, verdict=UNTESTED)
    margin = difference.margin
    if difference.estimate.seeds < 2:
        verdict = UNRESOLVED
    elif claim.expected == "equivalent":
        outside = difference.estimate.low > margin or difference.estimate.high < -margin
        verdict = SUPPORTED if difference.within else CONTRADICTED if outside else UNRESOLVED
    elif difference.within:
        verdict = CONTRADICTED
    elif difference.verdict in ("higher", "lower"):
        verdict = SUPPORTED if difference.verdict == claim.expected else CONTRADICTED
    else:
        verdict = UNRESOLVED
    return Tested(claim=claim, compared=compared, verdict=verdict)


def _together(verdicts: Sequence[str]) -> str:
    for verdict in (CONTRADICTED, UNTESTED, UNRESOLVED):
        if verdict in verdicts:
            return verdict
    return SUPPORTED
