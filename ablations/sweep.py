"""A sweep as frozen data: a base, axes, a design, seeds and what is wanted of them. ``sweep_file`` reads one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from ablations.errors import Problem
from ablations.expression import Expression
from ablations.yaml_lines import Document, Path_

ARM_AXIS = "arm"
"""Name of the axis that stands for the arms of a ``list``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A checked value of a leaf, and where it was written."""

    value: Any
    document: Document
    path: Path_

    def problem(self, problem: str, **more: Any) -> Problem:
        return self.document.problem(self.path, problem, **more)


@dataclass(frozen=True, kw_only=True, eq=False)
class AxisValue:
    """One value of an axis: what it sets, under a label for figures and tables."""

    label: str
    set: Mapping[str, Setting]
    named: bool
    """Whether the label was given in the file, rather than made from the value."""

    @property
    def values(self) -> dict[str, Any]:
        """What it sets, as plain values."""
        return {key: setting.value for key, setting in self.set.items()}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included, for random and searched designs."""

    low: float
    """The smallest number."""
    high: float
    """The largest number."""
    log: bool = False
    """Draw on a logarithmic scale."""
    step: float | None = None
    """Distance between the numbers that can be drawn; by default 1 for integers and none for others."""
    integer: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """One thing that varies; several keys that vary together are one axis."""

    name: str
    """The keys, joined by a comma."""
    keys: tuple[str, ...]
    values: tuple[AxisValue, ...]
    """Empty for a range."""
    range: Range | None
    path: Path_
    """Where it is written in the sweep file."""


@dataclass(frozen=True, kw_only=True)
class OneAtATime:
    """The base, and for each axis each of its values with everything else as in the base."""

    kind: ClassVar[str] = "one_at_a_time"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of the axes' values."""

    kind: ClassVar[str] = "grid"


@dataclass(frozen=True, kw_only=True)
class ArmList:
    """The arms that are listed under ``arms``."""

    kind: ClassVar[str] = "list"


@dataclass(frozen=True, kw_only=True)
class Random:
    """Arms drawn from the axes' values and ranges."""

    kind: ClassVar[str] = "random"
    arms: int
    """Number of distinct arms."""
    seed: int = 0
    """Seed of the draw; not a trial's seed."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Arms proposed by an Optuna sampler. An Optuna trial is an arm; its value is the mean objective over the seeds."""

    kind: ClassVar[str] = "search"
    arms: int
    """Number of arms to try."""
    sampler: Literal["tpe", "gp", "cmaes", "random"] = "tpe"
    """Tree-structured Parzen estimators, Gaussian processes, CMA-ES (numbers only), or chance."""
    pruner: Literal["none", "median", "hyperband"] = "none"
    """What stops hopeless trials early, by their intermediate scores; needs ``evaluation.every``."""
    seed: int = 0
    """Seed of the sampler; not a trial's seed."""


Design = OneAtATime | Grid | ArmList | Random | Search
DESIGNS: Mapping[str, type] = {kind.kind: kind for kind in (OneAtATime, Grid, ArmList, Random, Search)}


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The number that a search improves and that tables lead with."""

    metric: str = "eval/few_shot/mean"
    """A metric of the evaluation, such as ``eval/four_shot`` or ``eval/colour/value/4``."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Which way is better."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial asks for."""

    nodes: int = 1
    """Nodes of a trial on a cluster."""
    gpus: int = 0
    """GPUs of a trial on each node, with a process for each of them; 0 runs on CPU cores."""
    cpus: int = 1
    """CPU cores of each process."""
    memory: str | None = None
    """Memory of a trial, such as ``64G``; by default what the machine gives."""
    time: str | None = None
    """Longest time of a job as hours:minutes:seconds, such as ``"4:00:00"``; by default what the machine gives."""

    @property
    def processes(self) -> int:
        """Processes of a trial on a cluster, all nodes together."""
        return self.nodes * max(1, self.gpus)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """A sweep file, read and checked."""

    name: str
    title: str
    document: Document
    """The file it was read from."""
    settings: Mapping[str, Setting]
    """What the base and ``set`` give; every other leaf has its default."""
    axes: tuple[Axis, ...]
    design: Design
    constraints: tuple[Expression, ...] = ()
    seeds: tuple[int, ...] = (0,)
    objective: Objective = field(default_factory=Objective)
    resources: Resources = field(default_factory=Resources)
    figures: tuple[str, ...] = ()
    margin: float = 1.0
    """Points by which two arms may differ and still count as alike."""
    baseline: Mapping[str, str] | None = None
    """Axis name to value label of the arm that the others are compared with; by default the arm equal to the base."""

    @property
    def base(self) -> dict[str, Any]:
        """The base as plain values by dotted key."""
        return {key: setting.value for key, setting in self.settings.items()}
