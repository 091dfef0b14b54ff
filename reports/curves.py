"""How arms learned, from the spools of finished trainings: the loss by step, and the scores on validation items that a
training with ``evaluation.every`` takes along the way."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.configuration import leaves
from reports.frame import Arm, Results

EVERY = "evaluation.every"
_POINTS = 60
"""Most points of a loss curve; the losses between two points are averaged."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One metric of an arm's trainings, at the steps that all its seeds have."""

    arm: Arm
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    """Over the seeds."""
    low: tuple[float, ...]
    """Least value over the seeds; ``high`` is the greatest."""
    high: tuple[float, ...]
    seeds: int


def learning_curves(results: Results, *, most: int) -> list[Curve]:
    """The losses of the baseline and the first arms that have scored trials, up to ``most``."""
    curves = (_curve(arm, [_binned(_losses(path)) for path in _spools(results, arm)]) for arm in _in_order(results))
    return [curve for curve, _ in zip(filter(None, curves), range(most), strict=False)]


def score_curves(results: Results, *, most: int) -> dict[str, list[Curve]]:
    """By headline measure, in stored units: the scores during training of the first ``most`` arms that have them."""
    found: dict[str, list[Curve]] = {measure.key: [] for measure in results.headline}
    every = leaves(results.plan.get("base") or {}, whole=()).get(EVERY)
    for arm in _in_order(results):
        if arm.settings.get(EVERY, every) is None:
            continue
        trainings = [_scores(path, found) for path in _spools(results, arm)]
        for key, curves in found.items():
            curve = _curve(arm, [training[key] for training in trainings])
            if curve is not None and len(curves) < most:
                curves.append(curve)
        if min(map(len, found.values()), default=most) >= most:
            break
    return {key: curves for key, curves in found.items() if curves}


def _in_order(results: Results) -> list[Arm]:
    """The arms, the baseline first."""
    return sorted(results.arms, key=lambda arm: not arm.baseline)


def _spools(results: Results, arm: Arm) -> list[Path]:
    return [
        results.records.work(kind, key) / "spool.jsonl"
        for _, trial in sorted(results.done(arm.key).items())
        for kind, key in trial.stages
        if kind == "pretrain"
    ]


def _curve(arm: Arm, trainings: Sequence[Mapping[int, float]]) -> Curve | None:
    """The curve of trainings that each map steps to numbers; empty ones are left out."""
    known = [training for training in trainings if training]
    if not known:
        return None
    steps = sorted(set.intersection(*(set(training) for training in known)))
    columns = [[training[step] for training in known] for step in steps]
    return Curve(
        arm=arm,
        steps=tuple(steps),
        mean=tuple(sum(column) / len(column) for column in columns),
        low=tuple(map(min, columns)),
        high=tuple(map(max, columns)),
        seeds=len(known),
    )


def _binned(points: Iterator[tuple[int, float]]) -> dict[int, float]:
    """The mean loss of each stretch of a training, by the last step of the stretch."""
    losses = list(points)
    last = max((step for step, _ in losses), default=0)
    width = max(1, -(-last // _POINTS))
    parts: dict[int, list[float]] = defaultdict(list)
    for step, loss in losses:
        parts[min(last, -(-step // width) * width)].append(loss)
    return {step: sum(part) / len(part) for step, part in parts.items()}


def _losses(path: Path) -> Iterator[tuple[int, float]]:
    return ((step, metrics["train/loss"]) for step, metrics in _points(path, "train/loss") if "train/loss" in metrics)


def _scores(path: Path, keys: Mapping[str, object]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {key: {} for key in keys}
    for step, metrics in _points(path, "eval/"):
        for key in keys:
            if key in metrics:
                found[key][step] = metrics[key]
    return found


def _points(path: Path, wanted: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps and metrics of the lines that have ``wanted`` in them; what cannot be read is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        if wanted not in line:
            continue
        try:
            point = json.loads(line)
            yield int(point["step"]), {name: float(value) for name, value in point["metrics"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
