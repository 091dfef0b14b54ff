"""``ablate plan``: what a sweep comes to, before anything runs. Reads the store, writes nothing but file digests."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablations.cost import Clock, Work, Works
from ablations.data_files import RememberedDigests
from ablations.errors import OK
from ablations.first_script import first_scripts
from ablations.history import finished_keys, measured_stages
from ablations.payload import encode
from ablations.plan import Job, Plan, jobs, make_plan
from ablations.profile_file import find_profile
from ablations.stages import Stage
from ablations.sweep_file import read_sweep
from slurm.machine import cores, gpus
from slurm.profile import Profile


@dataclass(frozen=True, kw_only=True)
class KindSummary:
    """The stages of one kind."""

    kind: str
    stages: int
    shared: int
    """How many of these several trials need; each is run once."""
    finished: int
    """How many of these the store has; they are not run again."""
    operations: float
    """Floating-point operations of the stages that are left."""
    seconds: float
    """Seconds that the stages that are left take one after the other."""
    measured: int
    """How many of those that are left are estimated from similar finished stages."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A plan, with what is done already and what the rest costs."""

    plan: Plan
    kinds: tuple[KindSummary, ...]
    finished_trials: frozenset[str]
    jobs: int
    workers: int
    """Jobs that run side by side."""
    seconds: float
    """Seconds until everything is done by those workers."""
    parameters: Mapping[str, int]
    """Parameters of an arm's model, by arm key."""
    script: str | None = None
    """The batch script of the jobs that a cluster gets first."""


def plan(sweep: Path, *, store: Path, profile: str | None, workers: int | None, json_output: bool) -> int:
    """Print the plan of a sweep file, with ``profile`` for that cluster. Raises ``SweepError``, ``BadInput``."""
    cluster = None if profile is None else find_profile(profile)
    digests = RememberedDigests(store)
    planned = make_plan(read_sweep(sweep, digest_of=digests))
    digests.save()
    preview = make_preview(planned, store=store, profile=cluster, workers=workers)
    if json_output:
        print(json.dumps(preview_document(preview), indent=1))
    else:
        from ablations.preview_text import show

        show(preview)
    return OK


def make_preview(planned: Plan, *, store: Path, profile: Profile | None = None, workers: int | None = None) -> Preview:
    """``workers``: jobs that run side by side; by default as many as this machine has cores or GPUs for, or the profile
    allows."""
    if profile is not None:
        workers = min(profile.max_jobs, workers or profile.max_jobs)
    resources = planned.sweep.resources
    stages = planned.stages()
    finished = finished_keys(store, stages.values())
    clock = Clock(measured_stages(store), gpu=resources.gpus > 0)
    left = jobs(planned.trials, lambda stage: stage.key in finished)
    needed = {stage.key for job in left for stage in job.stages}
    works = Works()
    work = {
        stage.key: works.of(stage, trial.arm.config)
        for trial in planned.trials
        for stage in trial.stages
        if stage.key in needed
    }
    parameters = {trial.arm.key: works.of(trial.stages[-1], trial.arm.config).parameters for trial in planned.trials}
    seconds = {key: clock.seconds(stages[key].kind, one) for key, one in work.items()}
    uses = planned.uses()
    side_by_side = workers or max(
        1, len(gpus()) // resources.gpus if resources.gpus and gpus() else cores() // resources.cpus
    )
    return Preview(
        plan=planned,
        kinds=tuple(
            _summary(kind, [stage for stage in stages.values() if stage.kind == kind], uses, finished, work, seconds)
            for kind in dict.fromkeys(stage.kind for stage in stages.values())
        ),
        finished_trials=frozenset(trial.key for trial in planned.trials if trial.key in finished),
        jobs=len(left),
        workers=side_by_side,
        seconds=_wall_seconds(planned, needed, {key: one[0] for key, one in seconds.items()}, side_by_side),
        parameters=parameters,
        script=_script(planned, left, profile, store=store, most=side_by_side),
    )


def preview_document(preview: Preview) -> dict[str, Any]:
    """The preview as JSON."""
    planned, sweep = preview.plan, preview.plan.sweep
    return {
        "name": sweep.name,
        "title": sweep.title,
        "design": sweep.design.kind,
        "seeds": list(sweep.seeds),
        "objective": asdict(sweep.objective),
        "baseline": planned.baseline.key if planned.baseline else None,
        "jobs": preview.jobs,
        "workers": preview.workers,
        "seconds": round(preview.seconds, 1),
        "operations": sum(kind.operations for kind in preview.kinds),
        "gpu_hours": gpu_hours(preview),
        "script": preview.script,
        "stages": [asdict(kind) for kind in preview.kinds],
        "arms": [
            {
                "key": arm.key,
                "label": arm.label,
                "values": dict(arm.values),
                "set": encode(arm.set),
                "baseline": arm.baseline,
                "parameters": preview.parameters[arm.key],
            }
            for arm in planned.arms
        ],
        "trials": [
            {
                "key": trial.key,
                "arm": trial.arm.key,
                "seed": trial.seed,
                "finished": trial.key in preview.finished_trials,
                "stages": {stage.kind: stage.key for stage in trial.stages},
            }
            for trial in planned.trials
        ],
    }


def _script(planned: Plan, left: Sequence[Job], profile: Profile | None, *, store: Path, most: int) -> str | None:
    scripts = [] if profile is None else first_scripts(planned.sweep, left, profile, store=store, most=most)
    return scripts[0] if scripts else None


def _summary(
    kind: str,
    stages: Sequence[Stage],
    uses: Counter[str],
    finished: set[str],
    work: Mapping[str, Work],
    seconds: Mapping[str, tuple[float, int]],
) -> KindSummary:
    left = [stage.key for stage in stages if stage.key in work]
    return KindSummary(
        kind=kind,
        stages=len(stages),
        shared=sum(uses[stage.key] > 1 for stage in stages),
        finished=sum(stage.key in finished for stage in stages),
        operations=sum(work[key].operations for key in left if work[key].parameters),
        seconds=sum(seconds[key][0] for key in left),
        measured=sum(seconds[key][1] > 0 for key in left),
    )


def _wall_seconds(planned: Plan, needed: set[str], seconds: Mapping[str, float], workers: int) -> float:
    """The work spread over the workers, but no less than the longest chain of stages that wait for each other."""
    longest = max(
        (sum(seconds[stage.key] for stage in trial.stages if stage.key in needed) for trial in planned.trials),
        default=0.0,
    )
    return max(sum(seconds.values()) / workers, longest)


def gpu_hours(preview: Preview) -> float:
    """GPU-hours of what is left."""
    resources = preview.plan.sweep.resources
    return round(sum(kind.seconds for kind in preview.kinds) * resources.gpus * resources.nodes / 3600, 3)
