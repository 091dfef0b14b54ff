"""The metrics that an evaluation gives, so that a sweep's objective can be checked before anything runs. Pure."""

from collections.abc import Sequence

from ablations.arms import Arm
from ablations.errors import SweepError, nearest
from ablations.sweep import Sweep
from mm1core.config import Config

METRICS = {
    "colour": ("exact", "value"),
    "digit": ("exact", "value"),
    "count": ("exact", "value"),
    "captioning": ("cider_d", "object_f1"),
    "text_core": ("exact",),
}
"""What each task of the micro world scores."""
FILE_METRICS = {"captioning": ("exact", "f1", "cider_d")}
"""What each task over files scores."""

SHOT_NAMES = {0: "zero_shot", 4: "four_shot", 8: "eight_shot"}


def metrics_of(config: Config) -> tuple[str, ...]:
    """The names of the numbers that a trial with this configuration ends with, aggregates first."""
    evaluation, scored = config.evaluation, FILE_METRICS if config.data.sources else METRICS
    shown = [task for task in evaluation.tasks if task != "text_core"]
    names: list[str] = []
    if shown:
        names += [f"eval/{SHOT_NAMES.get(shots, f'{shots}_shot')}" for shots in evaluation.shots]
        if any(shots > 0 for shots in evaluation.shots):
            names.append("eval/few_shot/mean")
    if "text_core" in evaluation.tasks:
        names.append("eval/text_core")
    for task in evaluation.tasks:
        for metric in scored[task]:
            shots_asked = (0,) if task == "text_core" else evaluation.shots
            names += [f"eval/{task}/{metric}/{shots}" for shots in shots_asked]
    return tuple(names)


def check_objective(sweep: Sweep, arms: Sequence[Arm]) -> None:
    """Raises ``SweepError`` if an arm's evaluation does not give the sweep's objective."""
    metric = sweep.objective.metric
    for config in {(id(arm.config.evaluation), id(arm.config.data)): arm.config for arm in arms}.values():
        known = metrics_of(config)
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
