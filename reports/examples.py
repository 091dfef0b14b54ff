"""A few answers of the models, side by side: the same items for the baseline and some other arms."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.frame import Arm, Results
from reports.records import Trial

ITEMS = 3
"""Items shown per task: the first of the evaluation."""
ARMS = 5
"""Arms shown, the baseline first."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    text: str
    right: bool | None
    """Whether it scores at least 0.5 by the task's leading metric; ``None`` for CIDEr-D, which is no share."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a question: text, or a picture as a ``data:`` address."""

    text: str = ""
    picture: str = ""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item at one number of shots, as each arm answered it."""

    task: str
    item: str
    shots: int
    references: tuple[str, ...]
    question: tuple[Part, ...]
    """The end of what the model saw, after any demonstrations; empty where it was not kept."""
    answers: Mapping[str, Answer]
    """By arm label."""


def examples(results: Results) -> list[Example]:
    """The first items of every task at the fewest and the most shots, answered by the first scored seed of each arm."""
    scored = [arm for arm in results.arms if results.done(arm.key)]
    shown = sorted(scored, key=lambda arm: not arm.baseline)[:ARMS]
    lines: dict[tuple[str, str, int], tuple[tuple[str, ...], dict[str, Answer]]] = {}
    for arm in shown:
        trial = min(results.done(arm.key).items())[1]
        for line, right in _wanted(results, trial):
            key = (line["task"], line["item"], line["shots"])
            _, answers = lines.setdefault(key, (tuple(map(str, line["references"])), {}))
            answers[_name(arm)] = Answer(text=str(line["prediction"]), right=right)
    questions = _questions(results, [min(results.done(arm.key).items())[1] for arm in shown])
    return [
        Example(
            task=task,
            item=item,
            shots=shots,
            references=references,
            question=questions.get((task, item), ()),
            answers=answers,
        )
        for (task, item, shots), (references, answers) in lines.items()
    ]


def _questions(results: Results, trials: Sequence[Trial]) -> dict[tuple[str, str], tuple[Part, ...]]:
    """The questions by task and item, from the first trial that kept them."""
    for trial in trials:
        try:
            path = results.records.work("evaluate", trial.evaluation) / "questions.jsonl"
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return {(line["task"], line["item"]): tuple(map(_part, line["prompt"])) for line in lines}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def _part(part: Mapping[str, str]) -> Part:
    if "png" in part:
        base64.b64decode(part["png"], validate=True)  # checked because it goes into an address
        return Part(picture=f"data:image/png;base64,{part['png']}")
    return Part(text=part["text"])


def _name(arm: Arm) -> str:
    return arm.label + (" †" if arm.baseline else "")


def _wanted(results: Results, trial: Trial) -> Iterator[tuple[dict[str, Any], bool | None]]:
    """The predictions of a trial that are shown, each with whether it is right; none where the file is missing."""
    result = results.records.stages["evaluate", trial.evaluation]["result"]
    shots = [score["shots"] for score in result["scores"]]
    seen: dict[tuple[str, int], int] = {}
    try:
        with (results.records.work("evaluate", trial.evaluation) / "predictions.jsonl").open(encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                key = (line["task"], line["shots"])
                seen[key] = seen.get(key, 0) + 1
                if seen[key] > ITEMS or (line["shots"] not in (min(shots), max(shots))):
                    continue
                metric = result["primary"][line["task"]]
                yield line, None if metric == "cider_d" else line["scores"][metric] >= 0.5
    except (OSError, ValueError, KeyError):
        return  # the scores stand without their examples
