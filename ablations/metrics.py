"""The metrics that an evaluation gives, so that a sweep's objective can be checked before anything runs. Pure."""

from collections.abc import Sequence

from ablations.arms import Arm
from ablations.errors import SweepError, nearest
from ablations.sweep import Sweep
from mm1core.config import EvaluationConfig

METRICS = {
    "colour": ("exact", "value"),
    "digit": ("exact", "value"),
    "count": ("exact", "value"),
    "captioning": ("cider_d", "object_f1"),
    "text_core": ("exact",),
}
"""What each task scores; captions read from files have no ``object_f1``."""

SHOT_NAMES = {0: "zero_shot", 4: "four_shot", 8: "eight_shot"}


def metrics_of(evaluation: EvaluationConfig) -> tuple[str, ...]:
    """The names of the numbers that a trial with this evaluation ends with, aggregates first."""
    shown = [task for task in evaluation.tasks if task != "text_core"]
    names: list[str] = []
    if shown:
        names += [f"eval/{SHOT_NAMES.get(shots, f'{shots}_shot')}" for shots in evaluation.shots]
        if any(shots > 0 for shots in evaluation.shots):
            names.append("eval/few_shot/mean")
    if "text_core" in evaluation.tasks:
        names.append("eval/text_core")
    for task in evaluation.tasks:
        for metric in METRICS[task]:
            shots_asked = (0,) if task == "text_core" else evaluation.shots
            names += [f"eval/{task}/{metric}/{shots}" for shots in shots_asked]
    return tuple(names)


def check_objective(sweep: Sweep, arms: Sequence[Arm]) -> None:
    """Raises ``SweepError`` if an arm's evaluation does not give the sweep's objective."""
    metric = sweep.objective.metric
    for evaluation in {id(arm.config.evaluation): arm.config.evaluation for arm in arms}.values():
        known = metrics_of(evaluation)
        if metric not in known:
            aggregates = [name for name in known if name.count("/") == 1 or name == "eval/few_shot/mean"]
            raise SweepError(
                sweep.document.problem(
                    ("objective", "metric"),
                    f"{metric!r} is not among the metrics of the evaluation",
                    allowed=", ".join(aggregates) + ", or eval/<task>/<metric>/<shots>",
                    nearest=nearest(metric, known),
                )
            )
