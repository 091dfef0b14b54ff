"""Jobs and trials in words and numbers, for displays."""

from collections.abc import Mapping
from typing import Any

from ablations.plan import Job, Trial
from ablations.stages import Stage
from mm1core.stages import EncoderStage, PretrainStage


def job_label(job: Job) -> str:
    """Arm and seed of a trial, or what a shared stage is."""
    if job.trial is not None:
        return trial_label(job.trial)
    stage = job.stages[-1]
    seed = f" · seed {stage.config.seed}" if isinstance(stage.config, EncoderStage | PretrainStage) else ""
    return f"{stage.kind} {stage.key[:6]}{seed}"


def trial_label(trial: Trial) -> str:
    return f"{trial.arm.label} · seed {trial.seed}"


def trial_ending(trial: Trial, record: Mapping[str, Any], metric: str) -> str:
    """One line about a trial that has its record."""
    what = f"{trial_label(trial)}: {record['state']}"
    if record["objective"] is not None:
        return f"{what}, {metric} {record['objective']:.4g}"
    failure = record["failure"]
    return f"{what} in {failure['stage']} ({failure['class']}): {failure['error']}" if failure else what


def optimizer_steps(stage: Stage) -> int | None:
    """How many steps a stage trains for; ``None`` for one that does not train."""
    if isinstance(stage.config, EncoderStage):
        return stage.config.encoder.training.steps
    return stage.config.training.steps if isinstance(stage.config, PretrainStage) else None
