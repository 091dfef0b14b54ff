"""A search's memory: an Optuna study, asked and told arm by arm, wherever it is kept.

An Optuna trial is an arm. The study holds arms and nothing else: proposals that are turned down leave no trace, and an
arm is added whole, in one step, so that a kill never leaves half of one.

The records are the truth and the study is a view of them: one that is lost, damaged or contradicts them is made anew.
There is one writer, which holds the sweep's lease.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import SimpleNamespace

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from ablations.configuration import leaves
from ablations.errors import StudyAway, StudyGone
from ablations.identity import canonical_json, digest
from ablations.proposals import Proposals
from ablations.search_arms import NameArm, SearchArm, State
from ablations.store import Warn
from ablations.study_place import MARK, Kept, StudyPlace
from ablations.sweep import Search, Sweep

_STATES: Mapping[State, TrialState] = {
    "running": TrialState.RUNNING,
    "done": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "diverged": TrialState.FAIL,
}


class Study:
    """A search under way. ``Study.open`` makes one; ``update`` and ``ask`` are all that a search needs."""

    def __init__(self, place: StudyPlace, sweep: Sweep) -> None:
        if not isinstance(sweep.design, Search):
            raise ValueError(f"the design of {sweep.name} is {sweep.design.kind}, not a search")
        self._place = place
        self._sweep = sweep
        self._design = sweep.design
        self._proposals = Proposals(sweep, sweep.design)
        self._study = optuna.create_study()  # a placeholder, until there is one

    @classmethod
    def open(cls, place: StudyPlace, sweep: Sweep, arms: Sequence[SearchArm], *, warn: Warn) -> "Study":
        """The study at ``place``, made to agree with ``arms``: what the records say, in the order of asking.

        Arms that only the study has were asked for just before a kill: they stay. Raises ``OSError``, ``StudyAway``.
        """
        study = cls(place, sweep)
        damage = study._load()
        if damage:
            where = place.set_aside()
            warn(f"{place.shown} {damage}; it is {where + ' and ' if where else ''}rebuilt from the records")
        if damage or not study._begins_with(arms):
            study._write(arms)
        study.update(arms)
        return study

    @property
    def arms(self) -> tuple[SearchArm, ...]:
        """Every arm so far, in the order of asking. Raises ``StudyAway``."""
        with self._place.troubles():
            return tuple(map(_arm, self._trials()))

    def update(self, arms: Sequence[SearchArm]) -> frozenset[str]:
        """Report and tell whatever is new in ``arms``. Returns the keys of those, still running, that are to be
        stopped.

        Raises ``StudyAway``.
        """
        with self._place.troubles():
            return self._update(arms)

    def _update(self, arms: Sequence[SearchArm]) -> frozenset[str]:
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
        """Up to ``count`` new arms; fewer if the design's number is reached, or no allowed point is left.

        ``name`` gives the key of the arm at a point, so that two points that are one configuration are one arm. Raises
        ``StudyAway``.
        """
        asked: list[SearchArm] = []
        with self._place.troubles():
            while len(asked) < count and (found := self._propose(name)) is not None:
                self._study.add_trial(self._frozen(found))
                asked.append(found)
        return asked

    def report(self, arm: str, step: int, value: float) -> bool:
        """Report an arm's score at a step, in the order of steps; doing so again does no harm. Returns whether the arm
        is to be stopped."""
        trial = self._trial(arm)
        if trial.state == TrialState.RUNNING and (trial.last_step is None or step > trial.last_step):
            running = Trial(self._study, trial._trial_id)
            running.report(value, step)
            if running.should_prune():
                running.set_user_attr("stop", step)  # a pruner judges a step once: keep what it said
                return True
        return "stop" in trial.user_attrs

    def tell(self, arm: str, value: float | None, state: State) -> None:
        """Tell how an arm ended, with its objective if it is done. An arm that was told before may be told another
        end."""
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
        """Load the study that is kept, if it is that of this very search. Returns what is wrong with a damaged one."""
        try:
            with self._place.troubles():
                kept = self._place.find()
                if kept is None:
                    return None
                loaded = self._loaded(kept)
                for arm in map(_arm, loaded.get_trials(deepcopy=False)):
                    if arm.state == "done" and arm.value is None:
                        raise ValueError(f"arm {arm.key} is done and has no value")
        except StudyGone as error:
            return f"is damaged ({error})"
        except (OSError, StudyAway):
            raise
        except Exception as error:  # whatever Optuna raises for what it did not write like this
            return f"is damaged ({type(error).__name__}: {error})"
        if loaded.user_attrs.get(MARK) == self._identity():
            self._study = loaded
        return None

    def _begins_with(self, arms: Sequence[SearchArm]) -> bool:
        """Whether the study is that of this very search, and has these arms first, in this order."""
        if MARK not in self._study.user_attrs:
            return False
        known = [(arm.key, dict(arm.values)) for arm in self.arms]
        return known[: len(arms)] == [(arm.key, dict(arm.values)) for arm in arms]

    def _write(self, arms: Sequence[SearchArm]) -> None:
        """Make the study anew with these arms, as they stand."""
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
                trial.should_prune()  # for the notes a pruner keeps on a trial; its verdict on the past is ignored
            if arm.state != "running":
                _tell(memory, memory.get_trials()[-1], arm.value, arm.state)

        def fill(kept: Kept) -> None:
            written = optuna.create_study(
                study_name=kept.name, direction=self._sweep.objective.direction, storage=kept.storage
            )
            written.set_user_attr("packages", self._packages())
            written.add_trials(memory.get_trials())
            written.set_user_attr(MARK, self._identity())

        self._study = self._loaded(self._place.replace(fill))

    def _propose(self, name: NameArm) -> SearchArm | None:
        """The next arm; ``None`` if there is none."""
        trials, arms = self._trials(), self.arms
        number = len(trials)
        if number >= self._design.arms or self._study.user_attrs.get("exhausted") == number:
            return None
        found = self._proposals.propose(trials, arms, name)
        if found is None:
            self._study.set_user_attr("exhausted", number)
        return found

    def _pruner(self) -> BasePruner:
        if self._design.pruner == "median":
            return MedianPruner()
        if self._design.pruner == "hyperband":
            every = self._sweep.base["evaluation.every"]
            steps = [self._sweep.base.get("training.steps", leaves()["training.steps"].default)]
            for axis in self._sweep.axes:
                if "training.steps" in axis.keys:
                    steps += [axis.range.high] if axis.range else [one.values["training.steps"] for one in axis.values]
            longest = max(every, *map(int, steps))
            return _Hyperband(self._sweep.name, min_resource=every, max_resource=longest, reduction_factor=3)
        return NopPruner()

    def _identity(self) -> str:
        """A digest that changes when values of the study would no longer be values of the sweep."""
        sweep = self._sweep
        space = {name: optuna.distributions.distribution_to_json(one) for name, one in self._proposals.space.items()}
        objective = [sweep.objective.metric, sweep.objective.direction]
        constraints = [constraint.text for constraint in sweep.constraints]
        return digest(canonical_json([space, sweep.base, list(sweep.seeds), objective, constraints]))

    def _packages(self) -> dict[str, str]:
        """The packages that made the proposals, for later reference."""
        more = {"gp": ["torch"], "cmaes": ["cmaes"]}.get(self._design.sampler, [])
        return {name: version(name) for name in ["optuna", *more]}

    def _loaded(self, kept: Kept) -> optuna.Study:
        return optuna.load_study(
            study_name=kept.name, storage=kept.storage, sampler=RandomSampler(), pruner=self._pruner()
        )

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial(self, arm: str) -> FrozenTrial:
        return {trial.user_attrs["arm"]: trial for trial in self._trials()}[arm]

    def _frozen(self, arm: SearchArm) -> FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING,
            params=dict(arm.values),
            distributions=self._proposals.space,
            user_attrs={"arm": arm.key},
        )


class _Hyperband(HyperbandPruner):
    """Optuna's pruner, which draws the bracket of an arm by the name of the study; here by that of the sweep, so that
    verdicts do not depend on where the study is kept."""

    def __init__(self, name: str, **options: int) -> None:
        super().__init__(**options)
        self._name = name

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return super()._get_bracket_id(SimpleNamespace(study_name=self._name), trial)  # type: ignore[arg-type]


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
