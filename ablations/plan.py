"""The plan of a sweep: its arms, its trials, the stages they are made of, and how those group into jobs. Pure.

A trial is an arm at a seed. Its key is the key of its last stage, so a trial of another sweep that would give the same
scores has the same key. Trials go seed by seed: a sweep that is stopped half-way has every arm at fewer seeds.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablations.arms import Arm
from ablations.configuration import leaves
from ablations.cost import Work, Works, decoder_parameters, training_work
from ablations.design import design_arms, same
from ablations.metrics import check_objective
from ablations.outline import save_outline
from ablations.payload import encode
from ablations.points import some_arms
from ablations.stages import Chains, Stage
from ablations.store import write_changed
from ablations.sweep import Axis, Search, Sweep


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One arm at one seed."""

    key: str
    """The key of its evaluate stage."""
    arm: Arm
    seed: int
    stages: tuple[Stage, ...]
    """In an order in which each comes after its inputs; the last is ``evaluate``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a sweep comes to: its arms and trials."""

    sweep: Sweep
    arms: tuple[Arm, ...]
    trials: tuple[Trial, ...]

    @property
    def baseline(self) -> Arm | None:
        return next((arm for arm in self.arms if arm.baseline), None)

    def stages(self) -> dict[str, Stage]:
        """Every distinct stage by its key, inputs first."""
        return {stage.key: stage for trial in self.trials for stage in trial.stages}

    def uses(self) -> Counter[str]:
        """How many trials need each stage, by its key."""
        return Counter(stage.key for trial in self.trials for stage in trial.stages)


def make_plan(sweep: Sweep, *, suggested: Sequence[Arm] = (), chains: Chains | None = None) -> Plan:
    """The plan of a sweep. For a search, ``suggested`` are the arms that its sampler has proposed so far.

    Raises ``SweepError`` for arms that cannot be run, that are equal, or whose trials would be the same work, and for
    a search that can have no arm.
    """
    chains = chains or Chains()
    searched = isinstance(sweep.design, Search)
    arms = design_arms(sweep, chains)
    if searched:
        arms = tuple({arm.key: arm for arm in suggested}.values())
    check_objective(sweep, arms or some_arms(sweep, chains))
    trials: dict[str, Trial] = {}
    for seed in sweep.seeds:
        for arm in arms:
            stages = chains.chain(arm.config, seed)
            trial = Trial(key=stages[-1].key, arm=arm, seed=seed, stages=stages)
            other = trials.setdefault(trial.key, trial)
            if other is not trial and not searched:
                raise same(sweep, arm, other.arm, "differs only in what has no effect there from")
    return Plan(sweep=sweep, arms=arms, trials=tuple(trials.values()))


def save_plan(plan: Plan, sweep: Path) -> None:
    """Write ``plan.json`` and its outline into the sweep's folder. Raises ``OSError``."""
    document = plan_document(plan)
    write_changed(sweep / "plan.json", json.dumps(document, ensure_ascii=False) + "\n")
    save_outline(document, sweep)


def plan_document(plan: Plan) -> dict[str, Any]:
    """The content of ``plan.json``: what status and reports know of a sweep, without reading its file again."""
    sweep = plan.sweep
    baseline = plan.baseline
    works = Works()
    work = {trial.arm.key: training_work(trial.stages, trial.arm.config, works) for trial in plan.trials}
    return {
        "name": sweep.name,
        "title": sweep.title,
        "design": sweep.design.kind,
        "seeds": list(sweep.seeds),
        "objective": asdict(sweep.objective),
        "figures": list(sweep.figures),
        "margin": sweep.margin,
        "resources": {name: getattr(sweep.resources, name) for name in ("nodes", "gpus", "cpus")},
        "axes": [_axis_document(axis, plan.arms) for axis in sweep.axes],
        "baseline": baseline.key if baseline else None,
        "base": _base_document(sweep),
        "arms": [_arm_document(arm, work[arm.key]) for arm in plan.arms],
        "trials": [
            {
                "key": trial.key,
                "arm": trial.arm.key,
                "seed": trial.seed,
                "stages": [
                    {"kind": stage.kind, "key": stage.key, "inputs": dict(stage.inputs)} for stage in trial.stages
                ],
            }
            for trial in plan.trials
        ],
    }


def _base_document(sweep: Sweep) -> dict[str, Any]:
    """Every leaf of the base, in its sections. Together they need not be a configuration that can be run."""
    base: dict[str, Any] = {}
    for key, leaf in leaves().items():
        *sections, name = key.split(".")
        place = base
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = encode(sweep.base.get(key, leaf.default))
    return base


def _arm_document(arm: Arm, training: Work) -> dict[str, Any]:
    return {
        "key": arm.key,
        "label": arm.label,
        "values": dict(arm.values),
        "set": encode(arm.set),
        "varied": list(arm.varied),
        "baseline": arm.baseline,
        "parameters": training.parameters,
        "operations": training.operations,
        "decoder_parameters": decoder_parameters(arm.config.decoder),
    }


def _axis_document(axis: Axis, arms: Sequence[Arm]) -> dict[str, Any]:
    """An axis with its values in order; those that only the base has come first, drawn ones by size."""
    listed: dict[str, Mapping[str, Any]] = {value.label: encode(value.values) for value in axis.values}
    others = {arm.values[axis.name]: encode({key: arm.set[key] for key in axis.keys if key in arm.set}) for arm in arms}
    if axis.range is not None:
        listed = dict(sorted(others.items(), key=lambda item: item[1][axis.keys[0]]))
    else:
        listed = {label: settings for label, settings in others.items() if label not in listed} | listed
    return {
        "name": axis.name,
        "keys": list(axis.keys),
        "values": [{"label": label, "set": settings} for label, settings in listed.items()],
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Stages that one process runs in order."""

    stages: tuple[Stage, ...]
    trial: Trial | None
    """The trial it finishes; ``None`` for a stage that several trials need."""
    after: tuple[str, ...]
    """Keys of unfinished stages of other jobs that it needs first."""

    @property
    def key(self) -> str:
        """The key of its last stage."""
        return self.stages[-1].key


def jobs(trials: Iterable[Trial], finished: Callable[[Stage], bool]) -> tuple[Job, ...]:
    """The work left for unfinished trials: a job for each stage that several of them need, and one for each trial.

    ``finished`` says whether a stage has its record. A stage is needed if it is not finished and the trial's last
    stage, or another that is needed, takes it as an input.
    """
    known: dict[str, bool] = {}

    def done(stage: Stage) -> bool:
        if stage.key not in known:
            known[stage.key] = finished(stage)
        return known[stage.key]

    needed = [(trial, _needed(trial, done)) for trial in trials]
    uses = Counter(stage.key for _, stages in needed for stage in stages)
    shared: dict[str, Job] = {}
    own: list[Job] = []
    for trial, stages in needed:
        for stage in stages:
            if uses[stage.key] > 1 and stage.key not in shared:
                shared[stage.key] = Job(stages=(stage,), trial=None, after=_missing((stage,), uses))
        chained = tuple(stage for stage in stages if uses[stage.key] == 1)
        if chained:
            own.append(Job(stages=chained, trial=trial, after=_missing(chained, uses)))
    return (*shared.values(), *own)


def _needed(trial: Trial, done: Callable[[Stage], bool]) -> list[Stage]:
    wanted = {trial.key}
    needed: list[Stage] = []
    for stage in reversed(trial.stages):
        if stage.key in wanted and not done(stage):
            needed.insert(0, stage)
            wanted.update(stage.inputs.values())
    return needed


def _missing(stages: Sequence[Stage], needed: Mapping[str, int]) -> tuple[str, ...]:
    inside = {stage.key for stage in stages}
    inputs = dict.fromkeys(key for stage in stages for key in stage.inputs.values())
    return tuple(key for key in inputs if key in needed and key not in inside)
