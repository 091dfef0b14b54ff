"""What MM1 published, read from ``mm1.yaml`` beside this module: scores, what is compared, and the lessons drawn.

Scores are in the paper's units (points of 100). Every block says where its numbers were read. Nothing here knows about
sweeps; which arms may stand for a setting is data (``Setting.arms``), applied in ``reports/paper/counterparts.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import exp, log
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

EXPECTED = ("higher", "lower", "equivalent")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One row of a table or one bar colour of a figure."""

    name: str
    """Unique in the file; what a reader calls it."""
    scores: Mapping[str, float]
    """By column, such as ``4-shot``."""
    arms: Mapping[str, Any]
    """What an arm must have to stand for it, by dotted configuration key: one of a list of values or, for a mix, a
    share between [least, most] for each source. Empty where no arm can."""
    series: str
    """Its name in the figure; empty where it is not drawn."""
    group: str
    """Its group in the figure; empty where the groups are the columns."""
    row: tuple[str, ...]
    """The first cells of its row in the paper's table, the group first; empty for a setting of a figure."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One table, figure or panel."""

    name: str
    figure: str
    """The figure of a report that has its layout."""
    source: str
    title: str
    provenance: str
    columns: tuple[str, ...]
    settings: tuple[Setting, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedCurve:
    """Scores along a key of the configuration."""

    name: str
    key: str
    source: str
    title: str
    provenance: str
    label: str
    """Title of the horizontal axis, in whose units the points are."""
    vertical: tuple[float, float, float]
    """Ends of the vertical axis and the distance between its ticks."""
    points: Mapping[float, float]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The paper's law for learning rates: ``ln(rate) = slope * ln(parameters) + intercept``."""

    source: str
    provenance: str
    slope: float
    intercept: float
    fitted: tuple[float, float]
    """Parameters, without embeddings, of the smallest and the largest model that it was fitted to."""
    largest: float
    """Parameters of the largest model that the paper trained by it."""

    def rate(self, size: float) -> float:
        return exp(self.slope * log(size) + self.intercept)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A mean over terms, each a weighted sum of settings whose weights sum to zero."""

    name: str
    lesson: str
    """The lesson it bears on: comparisons of one lesson are one family of tests."""
    label: str
    source: str
    columns: tuple[str, ...]
    terms: tuple[Mapping[str, float], ...]
    """Weights by the settings' names."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One comparison at one column, and how it should come out: one of ``EXPECTED``."""

    comparison: str
    column: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Lesson:
    name: str
    statement: str
    source: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True)
class Published:
    paper: str
    measures: Mapping[str, str]
    """Measure keys of a report by the paper's columns."""
    blocks: tuple[Block, ...]
    curves: tuple[PublishedCurve, ...]
    learning_rate: Rule
    comparisons: tuple[Comparison, ...]
    lessons: tuple[Lesson, ...]

    def setting(self, name: str) -> Setting:
        return next(setting for block in self.blocks for setting in block.settings if setting.name == name)

    def comparison(self, name: str) -> Comparison:
        return next(comparison for comparison in self.comparisons if comparison.name == name)

    def difference(self, terms: Sequence[Mapping[str, float]], column: str) -> float:
        """The mean over terms at a column, in points."""
        sums = [sum(weight * self.setting(name).scores[column] for name, weight in term.items()) for term in terms]
        return sum(sums) / len(sums)

    def changed(self, comparison: Comparison) -> frozenset[str]:
        """The configuration keys on which the settings of a comparison differ; empty where no arm can stand for one."""
        changed: set[str] = set()
        for term in comparison.terms:
            patterns = [self.setting(name).arms for name in term]
            if all(patterns):
                changed |= {key for key in patterns[0] if any(one[key] != patterns[0][key] for one in patterns)}
        return frozenset(changed)


@cache
def mm1() -> Published:
    """The paper's numbers as shipped."""
    content = YAML(typ="safe").load(Path(__file__).with_name("mm1.yaml"))
    return Published(
        paper=content["paper"],
        measures=content["measures"],
        blocks=tuple(_block(block) for block in content["blocks"]),
        curves=tuple(PublishedCurve(**curve) for curve in content["curves"]),
        learning_rate=Rule(**{**content["learning_rate"], "fitted": tuple(content["learning_rate"]["fitted"])}),
        comparisons=tuple(
            Comparison(**{**one, "columns": tuple(one["columns"]), "terms": tuple(one["terms"])})
            for one in content["comparisons"]
        ),
        lessons=tuple(_lesson(lesson) for lesson in content["lessons"]),
    )


def _block(block: Mapping[str, Any]) -> Block:
    columns = tuple(block["columns"])
    settings = tuple(
        Setting(
            name=setting["name"],
            scores=dict(zip(columns, setting["scores"], strict=True)),
            arms=setting.get("arms", {}),
            series=setting.get("series", ""),
            group=setting.get("group", ""),
            row=tuple(setting.get("row", ())),
        )
        for setting in block["settings"]
    )
    return Block(**{**block, "columns": columns, "settings": settings})


def _lesson(lesson: Mapping[str, Any]) -> Lesson:
    claims = tuple(
        Claim(comparison=claim["comparison"], column=column, expected=claim["expected"])
        for claim in lesson["claims"]
        for column in claim["columns"]
    )
    return Lesson(**{**lesson, "claims": claims})
