"""From a sweep to its arms: which configurations are tried. Pure.

An arm that a constraint forbids is left out; two arms that are the same configuration are a mistake, as are arms that
cannot be run.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import exp, floor, log, prod
from typing import Any

from ablations.arms import BASELINE, Arm, ArmBuilder
from ablations.configuration import leaves
from ablations.errors import SweepError
from ablations.labels import plain_label
from ablations.stages import Chains
from ablations.sweep import ARM_AXIS, Axis, AxisValue, OneAtATime, Random, Range, Search, Setting, Sweep
from ablations.yaml_lines import Path_

MOST_TRIALS = 200_000


def design_arms(sweep: Sweep, chains: Chains) -> tuple[Arm, ...]:
    """The arms of a sweep in order, the baseline marked. A search has none: its sampler proposes them.

    Raises ``SweepError`` for arms that are equal or cannot be run, and if no arm is left.
    """
    builder = ArmBuilder(sweep, chains)
    if isinstance(sweep.design, Random | Search) and sweep.design.arms * len(sweep.seeds) > MOST_TRIALS:
        raise SweepError(
            sweep.document.problem(
                ("design", "arms"), f"{sweep.design.arms} is too many", allowed=f"{MOST_TRIALS:,} trials"
            )
        )
    if isinstance(sweep.design, Search):
        return ()
    if isinstance(sweep.design, OneAtATime):
        return _one_at_a_time(builder)
    if isinstance(sweep.design, Random):
        return _random(builder, sweep.design, chains)
    return _grid(builder)


def suggested_arm(sweep: Sweep, parameters: Mapping[str, str | int | float], chains: Chains) -> Arm | None:
    """The arm that a sampler proposes: axis name to a value's label, or to a number for a range.

    ``None`` if a constraint forbids it. Raises ``SweepError`` if it cannot be run, or a constraint cannot be evaluated
    there.
    """
    builder = ArmBuilder(sweep, chains)
    combination = {
        axis.name: _drawn(axis, parameters[axis.name], sweep)
        if axis.range is not None
        else next(value for value in axis.values if value.label == parameters[axis.name])
        for axis in sweep.axes
    }
    return builder.arm(combination) if builder.allowed(combination) else None


def _one_at_a_time(builder: ArmBuilder) -> tuple[Arm, ...]:
    sweep = builder.sweep
    if not builder.allowed({}):
        raise SweepError(sweep.document.problem(("constraints",), "forbid the base, which is the baseline"))
    base = builder.arm({})
    alone = {
        axis.name: [
            (value, builder.arm({axis.name: value})) for value in axis.values if builder.allowed({axis.name: value})
        ]
        for axis in sweep.axes
    }
    base_values = {
        axis.name: next((value.label for value, arm in alone[axis.name] if arm.key == base.key), None)
        or _base_label(axis, builder)
        for axis in sweep.axes
    }
    arms = [replace(base, label=BASELINE, values=base_values, baseline=True)]
    for axis in sweep.axes:
        for value, arm in alone[axis.name]:
            if arm.key != base.key:
                arms.append(replace(arm, values={**base_values, axis.name: value.label}, varied=(axis.name,)))
    return tuple(_with_distinct_labels(_distinct(arms, sweep)))


def _grid(builder: ArmBuilder) -> tuple[Arm, ...]:
    sweep = builder.sweep
    total = prod(len(axis.values) for axis in sweep.axes) * len(sweep.seeds)
    if total > MOST_TRIALS:
        raise SweepError(
            sweep.document.problem(
                ("axes",), f"make {total:,} trials; use fewer values or design: random", allowed=f"{MOST_TRIALS:,}"
            )
        )
    names = [axis.name for axis in sweep.axes]
    combinations = (dict(zip(names, values, strict=True)) for values in product(*(axis.values for axis in sweep.axes)))
    arms = [builder.arm(combination) for combination in combinations if builder.allowed(combination)]
    return _compared(_distinct(arms, sweep), sweep, builder)


def _random(builder: ArmBuilder, design: Random, chains: Chains) -> tuple[Arm, ...]:
    sweep = builder.sweep
    source = random.Random(design.seed)
    arms: dict[str, Arm] = {}
    for _ in range(100 * design.arms):
        combination = {axis.name: _draw(axis, source, sweep) for axis in sweep.axes}
        if builder.allowed(combination):
            arm = builder.arm(combination)
            arms.setdefault(chains.chain(arm.config, sweep.seeds[0])[-1].key, arm)  # equal work counts once
        if len(arms) == design.arms:
            return _compared(list(arms.values()), sweep, builder)
    raise SweepError(
        sweep.document.problem(
            ("design",), f"only {len(arms)} different arms were found, not {design.arms}; ask for fewer"
        )
    )


def _draw(axis: Axis, source: random.Random, sweep: Sweep) -> AxisValue:
    if axis.range is None:
        return axis.values[floor(source.random() * len(axis.values))]
    return _drawn(axis, draw_number(axis.range, source.random()), sweep)


def draw_number(span: Range, share: float) -> float:
    """The number at a ``share`` (at least 0, below 1) of a range; both ends can be drawn."""
    if span.integer and span.log:
        number: float = floor(exp(log(span.low) + share * (log(span.high + 1) - log(span.low))))
    elif span.log:
        number = exp(log(span.low) + share * (log(span.high) - log(span.low)))
    elif span.step is not None or span.integer:
        step = span.step or 1
        number = span.low + step * floor(share * (floor((span.high - span.low) / step + 1e-9) + 1))
    else:
        number = span.low + share * (span.high - span.low)
    number = min(max(number, span.low), span.high)
    return int(number) if span.integer else float(f"{number:.6g}")


def _drawn(axis: Axis, number: Any, sweep: Sweep) -> AxisValue:
    value = leaves()[axis.keys[0]].annotation(number)
    setting = Setting(value=value, document=sweep.document, path=axis.path)
    return AxisValue(label=plain_label(value), set={axis.keys[0]: setting}, named=False)


def _compared(arms: Sequence[Arm], sweep: Sweep, builder: ArmBuilder) -> tuple[Arm, ...]:
    """The arms, with the baseline (the one that is named, or equal to the base) marked and with what varies against
    it."""
    if not arms:
        raise SweepError(sweep.document.problem(("constraints",), "leave no arm"))
    if sweep.baseline is not None:
        chosen = next((arm for arm in arms if dict(arm.values) == dict(sweep.baseline)), None)
        if chosen is None:
            raise SweepError(sweep.document.problem(("baseline",), "is an arm that the constraints exclude"))
        against = chosen.values
    else:
        base = _base_key(builder)
        chosen = next((arm for arm in arms if arm.key == base), None)
        against = chosen.values if chosen else {axis.name: _base_label(axis, builder) for axis in sweep.axes}
    marked = [
        replace(
            arm,
            baseline=arm is chosen,
            varied=tuple(name for name, label in arm.values.items() if label != against[name]),
        )
        for arm in arms
    ]
    return tuple(_with_distinct_labels(marked))


def _with_distinct_labels(arms: list[Arm]) -> list[Arm]:
    """Arms whose labels differ: where two are the same, the axes' names are added."""
    if len({arm.label for arm in arms}) == len(arms):
        return arms
    return [arm if arm.label == BASELINE and arm.baseline else replace(arm, label=_full_label(arm)) for arm in arms]


def _full_label(arm: Arm) -> str:
    names = arm.varied or tuple(arm.values)
    return ", ".join(f"{name}={label}" for name, label in arm.values.items() if name in names)


def _base_key(builder: ArmBuilder) -> str | None:
    """The key of the base as an arm, if it can be run at all."""
    try:
        return builder.arm({}).key
    except SweepError:
        return None


def _base_label(axis: Axis, builder: ArmBuilder) -> str:
    """The base's place on an axis: the label of its value there, or one made from what it has."""
    base = builder.sweep.base
    has = {key: base.get(key, leaves()[key].default) for key in axis.keys}
    listed = next((value.label for value in axis.values if value.values == has), None)
    if listed is not None:
        return listed
    return "base" if axis.name == ARM_AXIS else "/".join(plain_label(value) for value in has.values())


def _distinct(arms: Sequence[Arm], sweep: Sweep) -> list[Arm]:
    """Raises ``SweepError`` for two arms that are the same configuration."""
    seen: dict[str, Arm] = {}
    for arm in arms:
        other = seen.setdefault(arm.key, arm)
        if other is not arm:
            raise same(sweep, arm, other, "is the same configuration as")
    return list(arms)


def same(sweep: Sweep, arm: Arm, other: Arm, how: str) -> SweepError:
    """The error for two arms that should differ, at the first value in which they were meant to."""
    place: Path_ = ("axes",)
    for axis in sweep.axes:
        if arm.values[axis.name] != other.values[axis.name]:
            value = next((i for i, value in enumerate(axis.values) if value.label == arm.values[axis.name]), None)
            if value is None:
                place = axis.path
            else:
                place = (*axis.path, axis.values[value].label if axis.values[value].named else value)
            break
    return SweepError(
        sweep.document.problem(place, f"the arm {arm.label!r} {how} {other.label!r}; leave one of them out")
    )
