"""The next point of a search, proposed by an Optuna sampler that is shown the arms so far.

What is proposed depends on the sweep and these arms alone: the draws for an arm are seeded by its number, not taken
from a generator that a restart would begin again. Points that a constraint forbids, or that are arms already, are
turned down in a copy of the study in memory. With the sampler ``gp``, Optuna imports torch into the process that asks.
"""

import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from ablations.points import DRAWS, Point, highest, points, short
from ablations.search_arms import NameArm, SearchArm
from ablations.sweep import Axis, Search, Sweep

_PROPOSALS = 16
"""Most proposals of the sampler for one arm, before it is drawn from the points that are allowed and new."""


class Proposals:
    """What a sweep's sampler proposes."""

    def __init__(self, sweep: Sweep, design: Search) -> None:
        self._sweep = sweep
        self._design = design
        self.space = {axis.name: _distribution(axis) for axis in sweep.axes}
        """Axis name to the axis's values, as an Optuna distribution."""

    def propose(self, trials: Sequence[FrozenTrial], arms: Sequence[SearchArm], name: NameArm) -> SearchArm | None:
        """The arm after ``arms``, which are ``trials`` in Optuna; ``None`` where no allowed point is left."""
        number = len(trials)
        known = {arm.key: arm for arm in arms}
        values = [arm.value for arm in arms if arm.value is not None]
        # What a sampler is told of a point that has no value, as it learns from values alone.
        worst = (min if self._sweep.objective.direction == "maximize" else max)(values, default=None)
        scratch = self._scratch(trials, arms, worst)
        for attempt in range(_PROPOSALS):
            scratch.sampler = self._sampler(self._seed(number, attempt))
            trial = scratch.ask(self.space)
            point = self._point(trial.params)
            key = name(point)
            if key is not None and key not in known:
                return SearchArm(key=key, values=point)
            _turn_down(scratch, trial.number, None if key is None else known[key], worst)
        for point in points(self._sweep.axes, random.Random(self._seed(number, _PROPOSALS)), DRAWS):
            key = name(point)
            if key is not None and key not in known:
                return SearchArm(key=key, values=point)
        return None

    def _scratch(self, trials: Sequence[FrozenTrial], arms: Sequence[SearchArm], worst: float | None) -> optuna.Study:
        """A copy of the study in memory, from which to draw without leaving a trace.

        It has no pruner: Hyperband would show a sampler only the arms of one bracket, and there are few arms.
        """
        scratch = optuna.create_study(direction=self._sweep.objective.direction, sampler=self._sampler(0))
        for trial, arm in zip(trials, arms, strict=True):
            state, value = trial.state, trial.value
            if arm.state == "diverged" and worst is not None:
                state, value = TrialState.COMPLETE, worst
            if self._design.sampler != "cmaes":
                scratch.add_trial(
                    create_trial(
                        state=state,
                        value=value,
                        params=trial.params,
                        distributions=trial.distributions,
                        intermediate_values=trial.intermediate_values,
                    )
                )
                continue
            scratch.enqueue_trial(trial.params)  # CMA-ES keeps its distribution on the trials, as it proposes them
            _ = scratch.ask(self.space).relative_params
            if state.is_finished():
                scratch.tell(trial.number, value if state == TrialState.COMPLETE else None, state)
        return scratch

    def _point(self, parameters: Mapping[str, Any]) -> Point:
        return {
            axis.name: parameters[axis.name] if axis.range is None else short(parameters[axis.name], axis.range)
            for axis in self._sweep.axes
        }

    def _sampler(self, seed: int) -> BaseSampler:
        random_first = min(10, 1 + self._design.arms // 4)
        if self._design.sampler == "tpe":
            return TPESampler(seed=seed, n_startup_trials=random_first)
        if self._design.sampler == "gp":
            return GPSampler(seed=seed, n_startup_trials=random_first, warn_independent_sampling=False)
        if self._design.sampler == "cmaes":
            return CmaEsSampler(seed=seed, warn_independent_sampling=False)
        return RandomSampler(seed=seed)

    def _seed(self, number: int, attempt: int) -> int:
        """The seed of a draw for the arm of this number: the same in whichever process it is made."""
        return int(sha256(f"{self._design.seed}/{number}/{attempt}".encode()).hexdigest()[:8], 16)


def _turn_down(scratch: optuna.Study, number: int, known: SearchArm | None, worst: float | None) -> None:
    """Tell the sampler why it must propose another point: the value at this one is known, or will be, or there is
    none."""
    if known is None or known.state == "diverged":
        scratch.tell(number, worst, TrialState.FAIL if worst is None else TrialState.COMPLETE)
    elif known.state == "done":
        scratch.tell(number, known.value)
    elif known.state != "running":
        scratch.tell(number, state=TrialState.FAIL)


def _distribution(axis: Axis) -> BaseDistribution:
    span = axis.range
    if span is None:
        return CategoricalDistribution([value.label for value in axis.values])
    if span.integer:
        return IntDistribution(int(span.low), int(highest(span)), log=span.log, step=int(span.step or 1))
    return FloatDistribution(span.low, highest(span), log=span.log, step=span.step)
