"""An arm: one configuration of a sweep without its seed, built from a value for each axis and checked. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ablations.configuration import ConfigBuilder, leaves
from ablations.errors import Problem, SweepError, nearest
from ablations.expression import ExpressionError
from ablations.labels import plain_label, short_names
from ablations.stages import Chains
from ablations.sweep import AxisValue, Setting, Sweep
from mm1core.config import Config, check_shares
from mm1core.errors import ConfigError

BASELINE = "baseline"


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """A configuration without its seed."""

    key: str
    label: str
    """Short, and different for each arm of a sweep."""
    values: Mapping[str, str]
    """Axis name to value label."""
    set: Mapping[str, Any]
    """What the axes set: dotted key to value."""
    varied: tuple[str, ...]
    """The axes on which it differs from the baseline; all that differ from the base if there is no baseline."""
    baseline: bool
    config: Config


Combination = Mapping[str, AxisValue]
"""Axis name to value."""


class ArmBuilder:
    """Makes the arms of one sweep; what they share is built and checked once."""

    def __init__(self, sweep: Sweep, chains: Chains) -> None:
        self.sweep = sweep
        self._chains = chains
        self._builder = ConfigBuilder(sweep.base)
        self._base = sweep.base
        self._names = short_names([key for axis in sweep.axes for key in axis.keys])
        self._labels: dict[int, tuple[AxisValue, str]] = {}

    def allowed(self, combination: Combination) -> bool:
        """Whether every constraint holds. Raises ``SweepError`` for one that cannot be evaluated here."""
        if not self.sweep.constraints:
            return True
        values = {key: setting.value for value in combination.values() for key, setting in value.set.items()}

        def get(key: str) -> Any:
            if key in values:
                return values[key]
            return self._base[key] if key in self._base else leaves()[key].default

        for index, constraint in enumerate(self.sweep.constraints):
            try:
                if not constraint.holds(get):
                    return False
            except ExpressionError as error:
                problem = f"{error.problem} (in the arm {self.label(combination)})"
                raise SweepError(self.sweep.document.problem(("constraints", index), problem)) from None
        return True

    def arm(self, combination: Combination) -> Arm:
        """Raises ``SweepError`` if the configuration cannot be run."""
        settings = {key: setting for value in combination.values() for key, setting in value.set.items()}
        values = {key: setting.value for key, setting in settings.items()}
        try:
            config = self._builder.build(values)
        except ConfigError as error:
            raise SweepError(self._located(error, settings, self.label(combination))) from None
        try:
            check_shares(config.training, self.sweep.resources.processes)
        except ConfigError as error:
            problem = f"{error} (in the arm {self.label(combination)})"
            raise SweepError(self.sweep.document.problem(("resources",), problem)) from None
        return Arm(
            key=self._chains.arm_key(config),
            label=self.label(combination),
            values={axis: value.label for axis, value in combination.items()},
            set=values,
            varied=(),
            baseline=False,
            config=config,
        )

    def label(self, combination: Combination) -> str:
        """The values' labels, with the names of the keys where the labels were not given by hand."""
        return ", ".join(map(self._value_label, combination.values())) or BASELINE

    def _value_label(self, value: AxisValue) -> str:
        known = self._labels.get(id(value))
        if known is None:  # keeps the value, so that its id is not reused
            known = self._labels[id(value)] = (value, self._made_label(value))
        return known[1]

    def _made_label(self, value: AxisValue) -> str:
        if value.named:
            return value.label
        return ", ".join(f"{self._names[key]}={plain_label(setting.value)}" for key, setting in value.set.items())

    def _located(self, error: ConfigError, settings: Mapping[str, Setting], arm: str) -> Problem:
        """The problem, at the place where a value that takes part was written: in an axis if one does, else in ``set``,
        else in the base."""
        near = nearest(error.written, error.known) if error.written else None
        mentioned = [error.key, *re.findall(r"[a-z_]+(?:\.[a-z_]+)+", error.problem)]
        varied = bool(settings)
        advice = f" (in the arm {arm}; a constraint can leave it out)" if varied else ""
        own = {key: setting for key, setting in self.sweep.settings.items() if setting.document is self.sweep.document}
        for source in (settings, own, self.sweep.settings):
            for key in mentioned:
                found = next((leaf for leaf in source if key == leaf or key.startswith(leaf + ".")), None)
                if found is not None:
                    rest = tuple(part for part in key[len(found) :].split(".") if part)
                    place = replace(source[found], path=(*source[found].path, *rest))
                    name = "" if key == error.key else f"{error.key}: "
                    return place.problem(f"{name}{error.problem}{advice}", nearest=near)
        return self.sweep.document.problem(("base",), f"{error.key}: {error.problem}{advice}", nearest=near)
