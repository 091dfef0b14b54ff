"""How arms learned: the loss of training by step, from the spools that finished trainings left."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reports.frame import Arm, Results

_POINTS = 60
"""Steps shown of a curve; the losses between two of them are averaged."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The loss of one arm's trainings, at steps that all its seeds have."""

    arm: Arm
    steps: tuple[int, ...]
    mean: tuple[float, ...]
    """Over the seeds."""
    low: tuple[float, ...]
    """Of the seeds, the least; and the most."""
    high: tuple[float, ...]
    seeds: int


def learning_curves(results: Results, *, most: int) -> list[Curve]:
    """Of the baseline and the first arms that have scored trials, up to ``most``."""
    arms = sorted(results.arms, key=lambda arm: not arm.baseline)
    curves = (_curve(results, arm) for arm in arms)
    return [curve for curve, _ in zip(filter(None, curves), range(most), strict=False)]


def _curve(results: Results, arm: Arm) -> Curve | None:
    trainings = [
        _binned(results.records.work(kind, key) / "spool.jsonl")
        for _, trial in sorted(results.done(arm.key).items())
        for kind, key in trial.stages
        if kind == "pretrain"
    ]
    trainings = [training for training in trainings if training]
    if not trainings:
        return None
    steps = sorted(set.intersection(*(set(training) for training in trainings)))
    columns = [[training[step] for training in trainings] for step in steps]
    return Curve(
        arm=arm,
        steps=tuple(steps),
        mean=tuple(sum(column) / len(column) for column in columns),
        low=tuple(map(min, columns)),
        high=tuple(map(max, columns)),
        seeds=len(trainings),
    )


def _binned(path: Path) -> dict[int, float]:
    """The mean loss of each part of a training, by its last step."""
    losses = list(_losses(path))
    last = max((step for step, _ in losses), default=0)
    width = max(1, -(-last // _POINTS))
    parts: dict[int, list[float]] = defaultdict(list)
    for step, loss in losses:
        parts[min(last, -(-step // width) * width)].append(loss)
    return {step: sum(part) / len(part) for step, part in parts.items()}


def _losses(path: Path) -> Iterator[tuple[int, float]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            point = json.loads(line)
            yield int(point["step"]), float(point["metrics"]["train/loss"])
        except (ValueError, KeyError, TypeError):
            continue
