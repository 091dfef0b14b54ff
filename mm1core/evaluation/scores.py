"""Turns one number per item into the numbers that are reported.

A standard error is the sample standard deviation over the square root of n; for a metric of zeros and ones that is the
binomial one, the square root of p(1 - p)/(n - 1). It reflects the choice of items alone, not the seed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mm1core.errors import DataError

_SHOT_WORDS = {0: "zero_shot", 4: "four_shot", 8: "eight_shot"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """A task's metric at a number of shots, over the items."""

    task: str
    metric: str
    shots: int
    mean: float
    standard_error: float | None
    """``None`` where there is a single item."""
    n: int


def score(task: str, metric: str, shots: int, per_item: np.ndarray) -> Score:
    """The mean over items and its standard error. Raises ``DataError`` if there is no item or a value is not finite."""
    values = np.asarray(per_item, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise DataError(
            f"{task}/{metric} at {shots} shots: scores of shape {values.shape} must be finite, one per item"
        )
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Score(task=task, metric=metric, shots=shots, mean=float(values.mean()), standard_error=error, n=len(values))


def metrics(scores: Sequence[Score], *, primary: Mapping[str, str], text_only: Iterable[str]) -> dict[str, float]:
    """The flat metrics of an evaluation: every mean, and MM1's aggregates.

    ``eval/zero_shot``, ``eval/four_shot``, ``eval/eight_shot`` (``eval/<k>_shot`` for other k) average the tasks'
    ``primary`` metrics at that number of shots; ``eval/few_shot/mean`` averages all of these with shots, and
    ``eval/text_core`` the ``text_only`` tasks, which are asked without shots and stay out of the other averages.
    An aggregate without a task is left out.
    """
    apart = set(text_only)
    flat = {f"eval/{item.task}/{item.metric}/{item.shots}": item.mean for item in scores}
    leading = [item for item in scores if item.metric == primary[item.task]]
    asked = [item for item in leading if item.task not in apart]
    for shots in sorted({item.shots for item in asked}):
        flat[f"eval/{_SHOT_WORDS.get(shots, f'{shots}_shot')}"] = _mean(item for item in asked if item.shots == shots)
    for name, chosen in (
        ("eval/few_shot/mean", [item for item in asked if item.shots > 0]),
        ("eval/text_core", [item for item in leading if item.task in apart]),
    ):
        if chosen:
            flat[name] = _mean(chosen)
    return flat


def _mean(scores: Iterable[Score]) -> float:
    return float(np.mean([item.mean for item in scores]))
