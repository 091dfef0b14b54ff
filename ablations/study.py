"""A search's memory: an Optuna study in ``study.journal`` of the sweep's folder, asked and told arm by arm.

An Optuna trial is an arm. The journal holds arms and nothing else: points that a constraint forbids, or that are arms
already, are turned down in a copy of the study in memory, and an arm is added whole, in one line, so that a kill
leaves no half of it. What is proposed depends on the sweep and the journal alone: the draws for an arm come from its
number, not from a generator that a restart would begin again.

The records are the truth and the journal a view of them: one that is lost, damaged or tells another story is made
anew. There is one writer, who holds the sweep's lease. The only module that imports Optuna; with the sampler ``gp``
Optuna imports torch into the process that asks.
"""

import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ablations.configuration import leaves
from ablations.identity import canonical_json, digest
from ablations.points import DRAWS, Point, highest, points, short
from ablations.search_arms import NameArm, SearchArm, State
from ablations.store import Warn, set_aside
from ablations.sweep import Axis, Search, Sweep

JOURNAL = "study.journal"

_PROPOSALS = 16
"""Proposals of the sampler for one arm, before it is drawn from the points that are allowed and new."""

_STATES: Mapping[State, TrialState] = {
    "running": TrialState.RUNNING,
    "done": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "diverged": TrialState.FAIL,
}

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study:
    """A search under way. ``Study.open`` makes one; ``update`` and ``ask`` are all that a search needs."""

    def __init__(self, folder: Path, sweep: Sweep) -> None:
        if not isinstance(sweep.design, Search):
            raise ValueError(f"the design of {sweep.name} is {sweep.design.kind}, not a search")
        self._path = folder / JOURNAL
        self._sweep = sweep
        self._design = sweep.design
        self._space = {axis.name: _distribution(axis) for axis in sweep.axes}

    @classmethod
    def open(cls, folder: Path, sweep: Sweep, arms: Sequence[SearchArm], *, warn: Warn) -> "Study":
        """The study in ``folder``, made to agree with ``arms``: what the records say, in the order of asking.

        Arms that only the journal has were asked for just before a kill: they stay. Raises ``OSError``.
        """
        study = cls(folder, sweep)
        damage = study._load()
        if damage:
            aside = set_aside(study._path)
            warn(f"{study._path} {damage}; it is kept as {aside.name} and made anew from the records")
        if damage or not study._begins_with(arms):
            study._write(arms)
        study.update(arms)
        return study

    @property
    def arms(self) -> tuple[SearchArm, ...]:
        """Every arm so far, in the order of asking."""
        return tuple(map(_arm, self._trials()))

    def update(self, arms: Sequence[SearchArm]) -> frozenset[str]:
        """Report and tell whatever is new in ``arms``. The keys of those, still running, that are to be stopped."""
        known = {arm.key: arm for arm in self.arms}
        new = [arm for arm in arms if known[arm.key].state == "running" or known[arm.key] != arm]
        for arm in new:
            if arm.state != "running":
                for step, value in sorted(arm.intermediate.items()):
                    self.report(arm.key, step, value)
                self.tell(arm.key, arm.value, arm.state)
        running = [arm for arm in new if arm.state == "running"]
        for step in sorted({step for arm in running for step in arm.intermediate}):
            for arm in running:
                if step in arm.intermediate:
                    self.report(arm.key, step, arm.intermediate[step])
        return frozenset(arm.key for arm in running if "stop" in self._trial(arm.key).user_attrs)

    def ask(self, count: int, name: NameArm) -> list[SearchArm]:
        """Up to ``count`` new arms. Fewer: the design's number is reached, or no allowed point is left.

        ``name`` gives the key of the arm at a point, so that two points that are one configuration are one arm.
        """
        asked: list[SearchArm] = []
        while len(asked) < count and (found := self._propose(name)) is not None:
            self._study.add_trial(self._frozen(found))
            asked.append(found)
        return asked

    def report(self, arm: str, step: int, value: float) -> bool:
        """Give an arm's score at a step, in the order of steps; again is no harm. Whether the arm is to be stopped."""
        trial = self._trial(arm)
        if trial.state == TrialState.RUNNING and (trial.last_step is None or step > trial.last_step):
            running = Trial(self._study, trial._trial_id)
            running.report(value, step)
            if running.should_prune():
                running.set_user_attr("stop", step)  # a pruner judges a step once: keep what it said
                return True
        return "stop" in trial.user_attrs

    def tell(self, arm: str, value: float | None, state: State) -> None:
        """Give the end of an arm: its objective if it is done. An arm told before may be told another end."""
        trial = self._trial(arm)
        known = _arm(trial)
        if (known.state, known.value) == (state, value):
            return
        if trial.state == TrialState.RUNNING:
            _tell(self._study, trial, value, state)
        else:
            told = SearchArm(key=arm, values=known.values, state=state, value=value, intermediate=known.intermediate)
            self._write([told if other.key == arm else other for other in self.arms])

    def _load(self) -> str | None:
        """Take up the journal, or leave the study without one. Returns what is wrong if there is a damaged one."""
        self._study = optuna.create_study()
        if not self._path.exists():
            return None
        _cut_unfinished_line(self._path)
        try:
            names = optuna.get_all_study_names(_storage(self._path))
            if names != [self._sweep.name]:
                return f"is damaged (it holds the studies {names})"
            loaded = self._loaded(self._path)
            for trial in loaded.get_trials(deepcopy=False):
                _arm(trial)
        except OSError:
            raise
        except Exception as error:  # whatever Optuna makes of lines that it did not write so
            return f"is damaged ({type(error).__name__}: {error})"
        if loaded.user_attrs.get("search") == self._identity():
            self._study = loaded
        return None

    def _begins_with(self, arms: Sequence[SearchArm]) -> bool:
        """Whether the study is that of this very search, and has these arms first, in this order."""
        if "search" not in self._study.user_attrs:
            return False
        known = [(arm.key, dict(arm.values)) for arm in self.arms]
        return known[: len(arms)] == [(arm.key, dict(arm.values)) for arm in arms]

    def _write(self, arms: Sequence[SearchArm]) -> None:
        """Make the journal anew with these arms, as they stand."""
        memory = optuna.create_study(
            study_name=self._sweep.name,
            direction=self._sweep.objective.direction,
            sampler=RandomSampler(),
            pruner=self._pruner(),
        )
        for arm in arms:
            memory.add_trial(self._frozen(arm))
            trial = Trial(memory, memory.get_trials()[-1]._trial_id)
            for step, value in sorted(arm.intermediate.items()):
                trial.report(value, step)
                trial.should_prune()  # for the notes a pruner keeps on a trial; its verdict on the past is not asked
            if arm.state != "running":
                _tell(memory, memory.get_trials()[-1], arm.value, arm.state)
        draft = self._path.with_name(JOURNAL + ".tmp")
        draft.unlink(missing_ok=True)
        written = optuna.create_study(
            study_name=self._sweep.name, direction=self._sweep.objective.direction, storage=_storage(draft)
        )
        written.set_user_attr("search", self._identity())
        written.set_user_attr("packages", self._packages())
        written.add_trials(memory.get_trials())
        draft.replace(self._path)
        self._study = self._loaded(self._path)

    def _propose(self, name: NameArm) -> SearchArm | None:
        """The next arm; ``None`` if there is none."""
        trials = self._trials()
        number = len(trials)
        if number >= self._design.arms or self._study.user_attrs.get("exhausted") == number:
            return None
        known = {arm.key: arm for arm in self.arms}
        scratch = self._scratch(trials)
        for attempt in range(_PROPOSALS):
            scratch.sampler = self._sampler(self._seed(number, attempt))
            trial = scratch.ask(self._space)
            point = self._point(trial.params)
            key = name(point)
            if key is not None and key not in known:
                return SearchArm(key=key, values=point)
            self._turn_down(scratch, trial.number, None if key is None else known[key])
        for point in points(self._sweep.axes, random.Random(self._seed(number, _PROPOSALS)), DRAWS):
            key = name(point)
            if key is not None and key not in known:
                return SearchArm(key=key, values=point)
        self._study.set_user_attr("exhausted", number)
        return None

    def _scratch(self, trials: Sequence[FrozenTrial]) -> optuna.Study:
        """A copy of the study in memory, from which to draw without leaving a trace.

        It has no pruner: Hyperband would show a sampler only the arms of one bracket, and there are few arms.
        """
        scratch = optuna.create_study(direction=self._sweep.objective.direction, sampler=self._sampler(0))
        for trial in trials:
            state, value = trial.state, trial.value
            if _arm(trial).state == "diverged" and self._worst() is not None:
                state, value = TrialState.COMPLETE, self._worst()
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
            _ = scratch.ask(self._space).relative_params
            if state.is_finished():
                scratch.tell(trial.number, value if state == TrialState.COMPLETE else None, state)
        return scratch

    def _turn_down(self, scratch: optuna.Study, number: int, known: SearchArm | None) -> None:
        """Let the sampler know why it must propose another: the value there is known, or will be, or is none."""
        if known is None or known.state == "diverged":
            scratch.tell(number, self._worst(), TrialState.FAIL if self._worst() is None else TrialState.COMPLETE)
        elif known.state == "done":
            scratch.tell(number, known.value)
        elif known.state != "running":
            scratch.tell(number, state=TrialState.FAIL)

    def _worst(self) -> float | None:
        """The worst value so far: what a sampler is told of a point that has none, as it learns from values alone."""
        values = [arm.value for arm in self.arms if arm.value is not None]
        return (min if self._sweep.objective.direction == "maximize" else max)(values, default=None)

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

    def _pruner(self) -> BasePruner:
        if self._design.pruner == "median":
            return MedianPruner()
        if self._design.pruner == "hyperband":
            every = self._sweep.base["evaluation.every"]
            steps = [self._sweep.base.get("training.steps", leaves()["training.steps"].default)]
            for axis in self._sweep.axes:
                if "training.steps" in axis.keys:
                    steps += [axis.range.high] if axis.range else [one.values["training.steps"] for one in axis.values]
            return HyperbandPruner(min_resource=every, max_resource=max(every, *map(int, steps)), reduction_factor=3)
        return NopPruner()

    def _seed(self, number: int, attempt: int) -> int:
        """The seed of a draw for the arm of this number: the same in whichever process it is made."""
        return int(sha256(f"{self._design.seed}/{number}/{attempt}".encode()).hexdigest()[:8], 16)

    def _identity(self) -> str:
        """Changes when values of the study would not be values of the sweep any more."""
        sweep = self._sweep
        space = {name: optuna.distributions.distribution_to_json(one) for name, one in self._space.items()}
        objective = [sweep.objective.metric, sweep.objective.direction]
        constraints = [constraint.text for constraint in sweep.constraints]
        return digest(canonical_json([space, sweep.base, list(sweep.seeds), objective, constraints]))

    def _packages(self) -> dict[str, str]:
        """The packages that made the proposals, for who wants to know later."""
        more = {"gp": ["torch"], "cmaes": ["cmaes"]}.get(self._design.sampler, [])
        return {name: version(name) for name in ["optuna", *more]}

    def _loaded(self, path: Path) -> optuna.Study:
        return optuna.load_study(
            study_name=self._sweep.name, storage=_storage(path), sampler=RandomSampler(), pruner=self._pruner()
        )

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial(self, arm: str) -> FrozenTrial:
        return next(trial for trial in self._trials() if trial.user_attrs["arm"] == arm)

    def _frozen(self, arm: SearchArm) -> FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING,
            params=dict(arm.values),
            distributions=self._space,
            user_attrs={"arm": arm.key},
        )


class _NoLock:
    """The journal has one writer already; Optuna's lock of a killed process would hold up the next for 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _storage(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_NoLock()))  # type: ignore[arg-type]


def _cut_unfinished_line(path: Path) -> None:
    """Remove the line that a kill cut short: it never happened, and the next would be written behind it."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _tell(study: optuna.Study, trial: FrozenTrial, value: float | None, state: State) -> None:
    Trial(study, trial._trial_id).set_user_attr("state", state)  # Optuna does not tell failed from diverged
    study.tell(trial.number, value if state == "done" else None, _STATES[state])


def _arm(trial: FrozenTrial) -> SearchArm:
    running = trial.state == TrialState.RUNNING
    return SearchArm(
        key=trial.user_attrs["arm"],
        values=dict(trial.params),
        state="running" if running else trial.user_attrs["state"],
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        intermediate=dict(trial.intermediate_values),
    )


def _distribution(axis: Axis) -> BaseDistribution:
    span = axis.range
    if span is None:
        return CategoricalDistribution([value.label for value in axis.values])
    if span.integer:
        return IntDistribution(int(span.low), int(highest(span)), log=span.log, step=int(span.step or 1))
    return FloatDistribution(span.low, highest(span), log=span.log, step=span.step)
