"""Writes made-up records of a sweep, in the form that real trainings leave, for tests of the report alone.

Scores are drawn so that an arm's mean over its items is exactly the number asked for (to one in ``items``): the easiest
items are answered, with a difficulty that arms share, so that pairs of arms are correlated as real ones are.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TASKS = ("colour", "digit", "text_core")
PRIMARY = {"colour": "value", "digit": "value", "count": "value", "text_core": "exact"}
SHOTS = (0, 4, 8)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
"""A picture of one pixel, as PNG."""


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """An arm to write: where it stands on the axes, and the percentages it scores."""

    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=lambda: {"0": 40.0, "4": 60.0, "8": 62.0, "text_core": 50.0})
    """Percent at each number of shots and for text_core; a missing entry is not evaluated."""
    baseline: bool = False
    states: Mapping[int, str] = field(default_factory=dict)
    """State by seed, where it is not done."""
    operations: float | None = None
    """Of a training; a plan without is one of an earlier version."""
    decoder_parameters: int | None = None
    seed_scores: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """By seed, in place of ``scores``."""


def key(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:12]


def write_sweep(
    store: Path,
    name: str,
    arms: Sequence[ArmRecord],
    *,
    title: str = "",
    design: str = "grid",
    seeds: Sequence[int] = (0, 1, 2),
    axes: Sequence[Mapping[str, Any]] = (),
    figures: Sequence[str] = (),
    items: int = 200,
    seed_spread: float = 0.0,
    tasks: Sequence[str] = TASKS,
    commit: str = "0123456789abcdef0123456789abcdef01234567",
) -> Path:
    """Write ``store/sweeps/<name>`` and the stages it needs; returns that folder. ``seed_spread`` is in percent."""
    folder = store / "sweeps" / name
    planned_arms, trials = [], []
    for arm in arms:
        arm_key = key(name, arm.label)
        planned_arms.append(
            {
                "key": arm_key,
                "label": arm.label,
                "values": dict(arm.values),
                "set": dict(arm.settings),
                "varied": [],
                "baseline": arm.baseline,
                **({} if arm.operations is None else {"operations": arm.operations, "parameters": 1000}),
                **({} if arm.decoder_parameters is None else {"decoder_parameters": arm.decoder_parameters}),
            }
        )
        for seed in seeds:
            trials.append(_write_trial(store, folder, arm, arm_key, seed, items, seed_spread, tasks, commit))
    baseline = next((planned["key"] for planned in planned_arms if planned["baseline"]), None)
    _write(
        folder / "plan.json",
        {
            "name": name,
            "title": title or name,
            "design": design,
            "seeds": list(seeds),
            "objective": {"metric": "eval/few_shot/mean", "direction": "maximize"},
            "figures": list(figures),
            "axes": list(axes),
            "baseline": baseline,
            "arms": planned_arms,
            "trials": trials,
        },
    )
    return folder


def axis(name: str, values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An axis of a plan from its values' labels and the keys they set."""
    keys = list(dict.fromkeys(dotted for settings in values.values() for dotted in settings))
    return {
        "name": name,
        "keys": keys,
        "values": [{"label": label, "set": dict(settings)} for label, settings in values.items()],
    }


def _write_trial(
    store: Path,
    folder: Path,
    arm: ArmRecord,
    arm_key: str,
    seed: int,
    items: int,
    seed_spread: float,
    tasks: Sequence[str],
    commit: str,
) -> dict[str, Any]:
    keys = {
        "world": key("world"),
        "encoder": key("encoder", seed),
        "pretrain": key("pretrain", arm_key, seed),
        "evaluate": key("evaluate", arm_key, seed),
    }
    state = arm.states.get(seed, "done")
    result: dict[str, Any] = {}
    if state == "done":
        result = _write_evaluation(store / "evaluate" / keys["evaluate"] / "work", arm, seed, items, seed_spread, tasks)
        for kind, stage_key in keys.items():
            config = {"items": items} if kind == "evaluate" else {"seed": seed, **arm.settings}
            _write(
                store / kind / stage_key / "record.json",
                {
                    "kind": kind,
                    "key": stage_key,
                    "version": 1,
                    "config": {} if kind == "world" else config,
                    "inputs": {},
                    "result": result if kind == "evaluate" else {},
                    "provenance": {
                        "commit": commit,
                        "dirty": False,
                        "versions": {"python": "3.11.7", "torch": "2.13.0"},
                        "host": "test-host",
                        "command": "ablate run",
                        "started": 1.0,
                        "finished": 2.0,
                        "seconds": 1.0,
                        "attempt": 0,
                        "resumed": False,
                    },
                },
            )
        _write_spool(store / "pretrain" / keys["pretrain"] / "work" / "spool.jsonl", seed)
    if state not in ("missing", "unreadable"):
        failed = state in ("failed", "diverged")
        _write(
            folder / "trials" / keys["evaluate"] / "record.json",
            {
                "trial": keys["evaluate"],
                "arm": arm_key,
                "seed": seed,
                "state": state,
                "objective": result.get("metrics", {}).get("eval/few_shot/mean"),
                "metrics": result.get("metrics", {}),
                "stages": keys,
                "failure": {
                    "stage": f"pretrain/{keys['pretrain']}",
                    "class": "code_error",
                    "error": "ValueError: <broken> & bent",
                    "attempt": 2,
                }
                if failed
                else None,
                "seconds": 4.0,
            },
        )
    if state == "unreadable":
        path = folder / "trials" / keys["evaluate"] / "record.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"trial": "cut off')
    return {
        "key": keys["evaluate"],
        "arm": arm_key,
        "seed": seed,
        "stages": [{"kind": kind, "key": stage_key, "inputs": {}} for kind, stage_key in keys.items()],
    }


def _write_spool(path: Path, seed: int) -> None:
    """Losses that fall from 4, a little lower for higher seeds, at every tenth of 600 steps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = [
        {"step": step, "time": 1.0, "metrics": {"train/loss": 4 / step**0.2 - 0.1 * seed}}
        for step in range(10, 601, 10)
    ]
    path.write_text("".join(json.dumps(point) + "\n" for point in points) + '{"step": 600, "ti')


def _write_evaluation(
    work: Path, arm: ArmRecord, seed: int, items: int, seed_spread: float, tasks: Sequence[str]
) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {}
    scores, lines = [], []
    for task in tasks:
        ids = [f"test/{task}/{index}" for index in range(items)]
        arrays[f"{task}/ids"] = np.array(ids)
        for shots in (0,) if task == "text_core" else SHOTS:
            wanted = arm.seed_scores.get(seed, arm.scores).get("text_core" if task == "text_core" else str(shots))
            if wanted is None:
                continue
            generator = np.random.default_rng(int(key("items", task, shots), 16))
            difficulty = generator.random(items)
            own = np.random.default_rng(int(key(arm.label, seed, task, shots), 16))
            shared = np.random.default_rng(int(key(arm.label, seed), 16)).standard_normal() * seed_spread
            right = round(min(100.0, max(0.0, wanted + shared)) / 100 * items)
            order = np.argsort(difficulty + 0.3 * own.random(items), kind="stable")
            values = np.zeros(items, dtype=np.float32)
            values[order[:right]] = 1.0
            metrics = {"value": values, "exact": values * (own.random(items) < 0.9)}
            if task == "text_core":
                metrics = {"exact": values}
            for metric, array in sorted(metrics.items()):
                arrays[f"{task}/{metric}/{shots}"] = array.astype(np.float32)
                scores.append(
                    {
                        "task": task,
                        "metric": metric,
                        "shots": shots,
                        "mean": float(array.mean()),
                        "standard_error": float(array.std(ddof=1) / np.sqrt(items)),
                        "n": items,
                    }
                )
            for index in range(items):
                lines.append(
                    {
                        "task": task,
                        "item": ids[index],
                        "shots": shots,
                        "prediction": "red" if values[index] else "a <b>blue</b> one",
                        "references": ["red", "crimson"],
                        "scores": {metric: float(array[index]) for metric, array in metrics.items()},
                    }
                )
    np.savez(work / "item_scores.npz", **arrays)  # type: ignore[arg-type]
    (work / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    questions = [
        {"task": task, "item": f"test/{task}/{index}", "prompt": [{"png": PIXEL}, {"text": "the <i>colour</i> is"}]}
        for task in tasks
        for index in range(3)
    ]
    (work / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in questions))
    flat = {f"eval/{score['task']}/{score['metric']}/{score['shots']}": score["mean"] for score in scores}
    return {
        "scores": scores,
        "metrics": flat,
        "primary": {task: PRIMARY[task] for task in tasks},
        "text_only": [task for task in tasks if task == "text_core"],
    }


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


# The paper's own numbers (MM1, Figures 4 and 5), so that the figures can be laid beside the paper's.

CONNECTORS = {"average_pool": "Avg. Pool", "attention_pool": "Att. Pool", "c_abstractor": "C-Abstractor"}
RESOLUTIONS = {"224, 64": (224, 64), "336, 64": (336, 64), "336, 144": (336, 144)}
CONNECTOR_SCORES = {
    "average_pool": {"0": (30.9, 31.9, 32.2), "4": (55.5, 57.0, 59.1), "8": (58.7, 57.9, 58.7)},
    "attention_pool": {"0": (30.2, 30.4, 31.5), "4": (52.8, 56.0, 58.2), "8": (56.9, 61.1, 62.3)},
    "c_abstractor": {"0": (30.7, 31.7, 33.4), "4": (55.0, 58.7, 57.4), "8": (62.5, 62.0, 61.2)},
}
DATA_SCORES = {
    "a": {
        "title": "Caption/Interleaved Mixing",
        "100/0": (49.6, 39.3, 43.8, 45.0),
        "66/33": (51.7, 35.9, 58.0, 61.1),
        "50/50": (52.2, 33.4, 58.7, 62.2),
        "33/66": (52.0, 33.1, 58.2, 61.9),
        "0/100": (52.8, 25.8, 53.6, 56.9),
    },
    "b": {
        "title": "Importance of Text-Only Data",
        "Caption": (49.6, 39.3, 43.8, 45.0),
        "Caption+Text": (54.8, 35.3, 51.4, 53.6),
        "Interleaved": (52.8, 25.8, 53.6, 56.9),
        "Interleaved+Text": (54.5, 24.0, 51.6, 55.3),
    },
    "c": {
        "title": "Image/Text-Only Mixing Ablations",
        "100/0": (52.2, 33.4, 58.7, 62.2),
        "91/9": (54.0, 32.1, 58.3, 62.7),
        "86/14": (54.2, 32.5, 57.9, 60.8),
        "66/33": (54.6, 32.1, 57.1, 61.0),
    },
    "d": {
        "title": "Impact of VeCap Data",
        "w/o VeCap": (53.9, 35.4, 55.9, 58.7),
        "w/ VeCap": (54.0, 32.1, 58.3, 62.7),
    },
}

MIXES = {
    "a": {
        "100/0": {"captions": 1.0},
        "66/33": {"captions": 2.0, "interleaved": 1.0},
        "50/50": {"captions": 0.5, "interleaved": 0.5},
        "33/66": {"captions": 1.0, "interleaved": 2.0},
        "0/100": {"interleaved": 1.0},
    },
    "b": {
        "Caption": {"captions": 1.0},
        "Caption+Text": {"captions": 10.0, "text": 1.0},
        "Interleaved": {"interleaved": 1.0},
        "Interleaved+Text": {"interleaved": 10.0, "text": 1.0},
    },
    "c": {
        "100/0": {"captions": 1.0, "interleaved": 1.0},
        "91/9": {"captions": 0.45, "interleaved": 0.45, "text": 0.1},
        "86/14": {"captions": 3.0, "interleaved": 3.0, "text": 1.0},
        "66/33": {"captions": 1.0, "interleaved": 1.0, "text": 1.0},
    },
    "d": {
        "w/o VeCap": {"captions": 10.0, "interleaved": 10.0, "text": 2.0},
        "w/ VeCap": {"captions": 9.3, "synthetic_captions": 0.7, "interleaved": 10.0, "text": 2.0},
    },
}


def write_paper_connector(store: Path, **options: Any) -> Path:
    """Figure 4 as a sweep: three connectors at three pairs of resolution and tokens."""
    pairs = {
        label: {"image.resolution": resolution, "connector.num_tokens": tokens}
        for label, (resolution, tokens) in RESOLUTIONS.items()
    }
    kinds = {kind: {"connector.kind": kind} for kind in CONNECTORS}
    arms = [
        ArmRecord(
            label=f"{kind}, {label}",
            values={"connector.kind": kind, "resolution": label},
            settings={**kinds[kind], **pairs[label]},
            scores={shots: column[index] for shots, column in CONNECTOR_SCORES[kind].items()},
            baseline=kind == "c_abstractor" and label == "336, 144",
        )
        for kind in kinds
        for index, label in enumerate(pairs)
    ]
    defaults: dict[str, Any] = {
        "title": "Vision-language connectors",
        "axes": [axis("connector.kind", kinds), axis("resolution", pairs)],
        "figures": ["connector"],
        "tasks": ("colour", "digit"),
        "seeds": (0,),
        "items": 1000,
    }
    return write_sweep(store, "connector", arms, **(defaults | options))


def write_paper_data(store: Path, panel: str, **options: Any) -> Path:
    """One panel of Figure 5 as a sweep."""
    table = DATA_SCORES[panel]
    settings = {label: {"data.mix": mix} for label, mix in MIXES[panel].items()}
    arms = [
        ArmRecord(
            label=label,
            values={"data.mix": label},
            settings=settings[label],
            scores=dict(zip(("text_core", "0", "4", "8"), table[label], strict=True)),  # type: ignore[arg-type]
            baseline=label in ("50/50", "91/9", "w/ VeCap", "Caption") and not (panel == "a" and label == "91/9"),
        )
        for label in settings
    ]
    defaults: dict[str, Any] = {
        "title": str(table["title"]),
        "axes": [axis("data.mix", settings)],
        "figures": ["data_mix"],
        "seeds": (0,),
        "items": 1000,
    }
    return write_sweep(store, f"data_{panel}", arms, **(defaults | options))


# The micro world's connectors with scores to order, to be laid beside the paper's.

MICRO_SIZES = {"24/4": (24, 4), "48/4": (48, 4), "48/9": (48, 9)}
ALIKE = {"0": 40.0, "4": 60.0, "8": 62.0}
"""Scores of arms that nothing distinguishes."""


def write_micro_connector(
    store: Path,
    gain: Callable[[str, int, int], float],
    *,
    kinds: Sequence[str] = tuple(CONNECTORS),
    states: Mapping[tuple[str, str], Mapping[int, str]] | None = None,
    **options: Any,
) -> Path:
    """Kinds by sizes; ``gain(kind, resolution, tokens)`` raises every score of an arm. States by kind and size."""
    sizes = {
        label: {"image.resolution": resolution, "connector.num_tokens": tokens}
        for label, (resolution, tokens) in MICRO_SIZES.items()
    }
    arms = [
        ArmRecord(
            label=f"{kind} {size}",
            values={"kind": kind, "size": size},
            settings={"connector.kind": kind, **sizes[size]},
            scores={shots: score + gain(kind, *MICRO_SIZES[size]) for shots, score in ALIKE.items()},
            states=(states or {}).get((kind, size), {}),
        )
        for kind in kinds
        for size in sizes
    ]
    defaults: dict[str, Any] = {
        "axes": [axis("kind", {kind: {"connector.kind": kind} for kind in kinds}), axis("size", sizes)],
        "figures": ["connector"],
        "tasks": ("colour",),
        "items": 500,
        "seeds": range(4),
    }
    return write_sweep(store, "sizes", arms, **(defaults | options))


def as_the_paper_says(kind: str, resolution: int, tokens: int) -> float:
    """Resolution and tokens help, the kind does nothing."""
    return 10.0 * (resolution == 48) + 12.0 * (tokens == 9)


def written_items(store: Path, evaluation: str, part: Any) -> tuple[list[str], np.ndarray]:
    """The items' ids and scores of one task, metric and number of shots, as they stand in an evaluation's file."""
    with np.load(store / "evaluate" / evaluation / "work" / "item_scores.npz") as arrays:
        return arrays[f"{part.task}/ids"].tolist(), arrays[f"{part.task}/{part.metric}/{part.shots}"]
