"""The arms of a search according to the records: which were tried, how far they are, how they ended.

A study is made from these, and made anew when its journal is lost. Imports no Optuna.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from ablations.arms import Arm
from ablations.design import suggested_arm
from ablations.ended import read_trial
from ablations.errors import SweepError
from ablations.points import Point
from ablations.stages import Chains
from ablations.store import object_in
from ablations.sweep import Sweep
from mm1core import spool

State = Literal["running", "done", "pruned", "failed", "diverged"]

NameArm = Callable[[Point], str | None]
"""The key of the arm at a point; ``None`` where a constraint forbids it or it cannot be run."""


@dataclass(frozen=True, kw_only=True)
class SearchArm:
    """One arm that a sampler proposed."""

    key: str
    values: Point
    state: State = "running"
    value: float | None = None
    """The objective, as the mean over the seeds; only of an arm that is done."""
    intermediate: Mapping[int, float] = field(default_factory=dict)
    """Step to the objective on the validation split, as the mean over the seeds."""


def search_arms(sweep: Sweep, folder: Path, store: Path) -> tuple[SearchArm, ...]:
    """The arms in ``folder/plan.json`` in the order in which they were asked for, with what their trials recorded.

    Arms that are no longer points of the sweep's axes are left out.
    """
    plan = object_in(folder / "plan.json")
    if plan is None:
        return ()
    trials: dict[str, list[Mapping[str, Any]]] = {}
    for trial in plan["trials"]:
        trials.setdefault(trial["arm"], []).append(trial)
    arms = []
    for arm in plan["arms"]:
        point = _point(sweep, arm)
        if point is None:
            continue
        planned = trials.get(arm["key"], [])
        records = [read_trial(folder / "trials" / trial["key"] / "record.json") for trial in planned]
        state, value = outcome([record for record in records if record], seeds=len(planned))
        scores = mean_by_step([intermediate_scores(store, trial, sweep.objective.metric) for trial in planned])
        arms.append(SearchArm(key=arm["key"], values=point, state=state, value=value, intermediate=scores))
    return tuple(arms)


def outcome(records: Sequence[Mapping[str, Any]], *, seeds: int) -> tuple[State, float | None]:
    """The state of an arm by the records of its finished trials, and the mean of their objectives if it is done.

    If a seed diverged, the arm counts as diverged: leaving that seed out would favour what trains unreliably. A seed
    that failed for another reason says nothing about the arm, and the others count.
    """
    if len(records) < seeds or not records:
        return "running", None
    states = {record["state"] for record in records}
    for state in ("diverged", "pruned"):
        if state in states:
            return state, None
    values = [record["objective"] for record in records if record["state"] == "done"]
    known = [value for value in values if value is not None]
    return ("done", fmean(known)) if known else ("failed", None)


def intermediate_scores(store: Path, trial: Mapping[str, Any], metric: str) -> dict[int, float]:
    """Step to the intermediate score of one trial (as in ``plan.json``), from the spool of its pre-training."""
    scores: dict[int, float] = {}
    for stage in trial["stages"]:
        if stage["kind"] == "pretrain":
            for line in spool.read(store / "pretrain" / stage["key"] / "work" / "spool.jsonl"):
                if metric in line["metrics"]:
                    scores[line["step"]] = line["metrics"][metric]
    return scores


def mean_by_step(scores: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """The mean over the seeds at each step that all of them have reached."""
    steps = set.intersection(*map(set, scores)) if scores else set()
    return {step: fmean(one[step] for one in scores) for step in sorted(steps)}


def arm_at(sweep: Sweep, point: Point, chains: Chains) -> Arm | None:
    """The arm at a point; ``None`` if a constraint forbids it or it cannot be run, and the sampler is to propose
    another."""
    try:
        return suggested_arm(sweep, point, chains)
    except SweepError:
        return None


def arm_namer(sweep: Sweep, chains: Chains, known: Sequence[SearchArm]) -> NameArm:
    """Names points by the key of their arm; points whose trials would be the same work have the first one's key."""
    owners: dict[str, str] = {}

    def name(point: Point) -> str | None:
        arm = arm_at(sweep, point, chains)
        if arm is None:
            return None
        return owners.setdefault(chains.chain(arm.config, sweep.seeds[0])[-1].key, arm.key)

    for arm in known:
        name(arm.values)
    return name


def _point(sweep: Sweep, arm: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point of an arm in ``plan.json``, if it is one."""
    point: dict[str, Any] = {}
    for axis in sweep.axes:
        if axis.range is not None and axis.keys[0] in arm["set"]:
            point[axis.name] = arm["set"][axis.keys[0]]
        elif axis.range is None and arm["values"].get(axis.name) in [value.label for value in axis.values]:
            point[axis.name] = arm["values"][axis.name]
        else:
            return None
    return point
