"""Reads a sweep file. All its mistakes are reported together, each with file, line, key and what is allowed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from ablations.axes import read_arms, read_axes, read_baseline
from ablations.border import Refused, check
from ablations.data_files import axis_with_fingerprints, with_fingerprints
from ablations.errors import Problem, SweepError, nearest, shown
from ablations.expression import Expression, ExpressionError, parse
from ablations.points import highest
from ablations.settings import read_base, read_settings
from ablations.sweep import (
    DESIGNS,
    ArmList,
    Axis,
    Design,
    Grid,
    Objective,
    OneAtATime,
    Random,
    Resources,
    Search,
    Setting,
    Sweep,
)
from ablations.yaml_lines import Document, Path_, read_yaml
from mm1core.data.fingerprint import digest
from reports.figures import SHOWS
from reports.figures import Name as Figure

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
TIME = re.compile(r"(\d+-)?\d+:[0-5]\d:[0-5]\d")
MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]")


@dataclass(frozen=True, kw_only=True)
class SweepFile:
    """The keys of a sweep file."""

    name: str
    """Names the sweep's folder in the store and its experiment in MLflow: letters, digits, ``_``, ``-`` and ``.``."""
    title: str = ""
    """One line for figures and the report."""
    base: str = "micro"
    """A preset, or the path of a configuration file relative to this one."""
    set: Mapping[str, Any] = field(default_factory=dict)
    """Settings that change the base, by dotted key. Mappings such as ``data.mix`` are replaced as a whole."""
    axes: Mapping[str, Any] = field(default_factory=dict)
    """What varies: a dotted key, or several joined by commas that vary together, to a list of values, to ``label:
    value`` pairs, or (random and search) to ``{low, high, log, step}``."""
    arms: Mapping[str, Any] = field(default_factory=dict)
    """For ``design: list``: a label for each arm, and its settings."""
    design: Any = OneAtATime.kind
    """``one_at_a_time`` around the base, ``grid``, ``list`` (see ``arms``), ``{kind: random, arms: 20}`` or
    ``{kind: search, arms: 30, sampler: tpe, pruner: median}``."""
    constraints: tuple[str, ...] = ()
    """Conditions that every arm fulfils, such as ``connector.num_tokens <= image.num_patches``; others are left out."""
    seeds: tuple[int, ...] = (0,)
    """Replicates: every arm is a trial at each of these seeds."""
    objective: Objective = field(default_factory=Objective)
    """The number that a search improves and that tables lead with."""
    resources: Resources = field(default_factory=Resources)
    """What one trial asks for."""
    figures: tuple[Figure, ...] = ()
    """Which figures in the paper's layout to draw; without it those that the axes allow."""
    margin: float = 1.0
    """Points (hundredths of a score) by which two arms may differ and still count as alike: what a report calls
    equivalent is tested to lie within."""
    baseline: Any = None
    """The arm that others are compared with: the label of its value on each axis. By default the arm equal to the
    base."""


def read_sweep(file: Path, *, digest_of: Callable[[Path], str] = digest) -> Sweep:
    """A checked sweep. ``digest_of`` gives the digest of a data file, and may remember it.

    Raises ``SweepError`` with every mistake found.
    """
    document = read_yaml(file)
    if not isinstance(document.content, dict):
        raise SweepError(Problem(file=file, line=1, problem="is not a sweep", allowed=_allowed()))
    problems = _unknown_keys(document)
    raw = _checked(document, problems)
    base = read_base(raw.base, document, ("base",)) if isinstance(raw.base, str) else {}
    settings = base | read_settings(raw.set, document, ("set",), problems)
    design = _design(raw.design, document, problems)
    axes = _axes(raw, design, document, problems)
    constraints = _constraints(raw.constraints, document, problems)
    baseline = _baseline(raw.baseline, axes, design, document, problems)
    _check_rest(raw, design, settings, axes, document, problems)
    if not problems:
        settings = with_fingerprints(settings, digest_of, problems)
        axes = tuple(axis_with_fingerprints(axis, digest_of, problems) for axis in axes)
    if problems or design is None:
        raise SweepError(sorted(problems, key=lambda problem: problem.line or 0))
    return Sweep(
        name=raw.name,
        title=raw.title or raw.name,
        document=document,
        settings=settings,
        axes=axes,
        design=design,
        constraints=constraints,
        seeds=raw.seeds,
        objective=raw.objective,
        resources=raw.resources,
        figures=raw.figures,
        margin=raw.margin,
        baseline=baseline,
    )


def _allowed() -> str:
    return ", ".join(SweepFile.__dataclass_fields__)


def _unknown_keys(document: Document) -> list[Problem]:
    known = SweepFile.__dataclass_fields__
    return [
        document.problem((name,), "is not a key of a sweep", allowed=_allowed(), nearest=nearest(name, known))
        for name in document.content
        if name not in known
    ]


def _checked(document: Document, problems: list[Problem]) -> SweepFile:
    """The file's keys with their declared types; one that is refused is reported and left at its default."""
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(SweepFile).items():
        if name not in document.content:
            continue
        raw = document.content[name]
        if raw is None and name in ("set", "axes", "arms", "constraints", "figures", "baseline"):
            continue
        if hint is Any or name in ("set", "axes", "arms"):
            values[name] = raw
            continue
        try:
            values[name] = check(hint, raw)
        except Refused as refused:
            problems.append(
                document.problem(
                    (name, *refused.inside), refused.problem, allowed=refused.allowed, nearest=refused.nearest
                )
            )
    if "name" not in document.content:
        problems.append(document.problem(("name",), "is missing; give the sweep a name"))
    return SweepFile(**{"name": "unnamed", **values})


def _design(raw: Any, document: Document, problems: list[Problem]) -> Design | None:
    path: Path_ = ("design",)
    kind = raw.get("kind") if isinstance(raw, Mapping) else raw
    if not isinstance(kind, str) or kind not in DESIGNS:
        problems.append(
            document.problem(
                path, f"{shown(kind)} is not a design", allowed=", ".join(DESIGNS), nearest=nearest(kind, DESIGNS)
            )
        )
        return None
    options = {name: value for name, value in raw.items() if name != "kind"} if isinstance(raw, Mapping) else {}
    try:
        design = check(DESIGNS[kind], options)
    except Refused as refused:
        problems.append(
            document.problem(
                (*path, *refused.inside),
                f"{refused.problem} (write design: {{kind: {kind}, arms: 20}})"
                if refused.problem == "is missing"
                else refused.problem,
                allowed=refused.allowed,
                nearest=refused.nearest,
            )
        )
        return None
    if isinstance(design, Random | Search) and design.arms < 1:
        problems.append(document.problem((*path, "arms"), f"{design.arms} must be positive"))
    return design


def _axes(raw: SweepFile, design: Design | None, document: Document, problems: list[Problem]) -> tuple[Axis, ...]:
    if isinstance(design, ArmList):
        if raw.axes:
            problems.append(document.problem(("axes",), "cannot be used with design: list; use arms"))
            return ()
        axis = read_arms(raw.arms, document, problems)
        return () if axis is None else (axis,)
    if raw.arms:
        problems.append(document.problem(("arms",), "needs design: list"))
    if not raw.axes and design is not None:
        state = "is empty" if "axes" in document.content else "is missing"
        problems.append(document.problem(("axes",), f"{state}; name at least one key that varies"))
    return read_axes(raw.axes, document, problems, drawn=isinstance(design, Random | Search))


def _constraints(texts: tuple[str, ...], document: Document, problems: list[Problem]) -> tuple[Expression, ...]:
    parsed = []
    for index, text in enumerate(texts):
        try:
            parsed.append(parse(text))
        except ExpressionError as error:
            problems.append(
                document.problem(("constraints", index), error.problem, allowed=error.allowed, nearest=error.nearest)
            )
    return tuple(parsed)


def _baseline(
    raw: Any, axes: tuple[Axis, ...], design: Design | None, document: Document, problems: list[Problem]
) -> dict[str, str] | None:
    if raw is None:
        return None
    if design is not None and not isinstance(design, Grid | ArmList):
        problems.append(
            document.problem(
                ("baseline",),
                f"is for grid and list; the baseline of {design.kind} is the base, so change that with `set`",
            )
        )
        return None
    return read_baseline(raw, axes, document, problems)


def _check_rest(
    raw: SweepFile,
    design: Design | None,
    settings: Mapping[str, Setting],
    axes: tuple[Axis, ...],
    document: Document,
    problems: list[Problem],
) -> None:
    """Check what a type alone does not say."""

    def require(condition: bool, path: Path_, problem: str) -> None:
        if not condition:
            problems.append(document.problem(path, problem))

    require(
        NAME.fullmatch(raw.name) is not None,
        ("name",),
        f"{shown(raw.name)} must begin with a letter or digit and hold only letters, digits, _, - and . (at most 100)",
    )
    require(len(raw.seeds) > 0, ("seeds",), "is empty; give at least one seed")
    for index, seed in enumerate(raw.seeds):
        require(0 <= seed < 2**32, ("seeds", index), f"{seed} must lie between 0 and 2**32 - 1")
        require(seed not in raw.seeds[:index], ("seeds", index), f"the seed {seed} is given twice")
    resources = raw.resources
    require(resources.nodes >= 1, ("resources", "nodes"), f"{resources.nodes} must be positive")
    require(resources.gpus >= 0, ("resources", "gpus"), f"{resources.gpus} must not be negative")
    require(resources.cpus >= 1, ("resources", "cpus"), f"{resources.cpus} must be positive")
    require(
        resources.memory is None or MEMORY.fullmatch(resources.memory) is not None,
        ("resources", "memory"),
        f"{resources.memory!r} is not a size such as 64G",
    )
    require(
        resources.time is None or TIME.fullmatch(resources.time) is not None,
        ("resources", "time"),
        f'{resources.time!r} is not hours:minutes:seconds, such as "4:00:00"',
    )
    require(raw.margin > 0, ("margin",), f"{raw.margin:g} must be positive: no two arms are exactly alike")
    keys = {key for axis in axes for key in axis.keys}
    for index, name in enumerate(raw.figures):
        require(
            not keys.isdisjoint(SHOWS[name]),
            ("figures", index),
            f"{name} needs {' or '.join(SHOWS[name])} to vary, but no axis varies it",
        )
        require(name not in raw.figures[:index], ("figures", index), f"the figure {name} is given twice")
    if isinstance(design, Search) and design.pruner != "none":
        every = settings.get("evaluation.every")
        require(
            every is not None and every.value is not None,
            ("design", "pruner"),
            f"{design.pruner} needs intermediate scores: set evaluation.every to a number of steps",
        )
    if isinstance(design, Search) and design.sampler == "cmaes":
        spans = [axis.range for axis in axes if axis.range is not None]
        require(
            sum(span.low < highest(span) for span in spans) >= 2,
            ("design", "sampler"),
            "cmaes needs two axes that are ranges of numbers; use tpe, gp or random",
        )
