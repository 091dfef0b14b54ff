"""The evaluate stage: a trained model is asked every item at every number of shots, and the answers are scored.

Writes, in the work folder, ``item_scores.npz`` (arrays ``<task>/ids`` and ``<task>/<metric>/<shots>``, so that arms can
be compared item by item), ``predictions.jsonl`` (one line per task, shots and item, in that order) and
``questions.jsonl`` (the first questions, for display). They have the same bytes on every run. No partial results are
kept: an interrupted evaluation starts again.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.lib.format import write_array
from tokenizers import Tokenizer

from mm1core import cider
from mm1core.config import EvaluationConfig
from mm1core.data.document import END
from mm1core.data.task import Item, Task
from mm1core.data.text import BOS_ID, END_ID, IMAGE_ID, PAD_ID
from mm1core.device import resolve_device
from mm1core.errors import DataError, Interrupted
from mm1core.evaluation.generate import generate
from mm1core.evaluation.pictures import PictureTable
from mm1core.evaluation.prompts import PromptBuilder
from mm1core.evaluation.questions import write_questions
from mm1core.evaluation.scores import Score, metrics, score
from mm1core.model import MultimodalModel, load_model
from mm1core.open import Data, open_data
from mm1core.stages import EvaluateStage
from mm1core.storage import write_atomically

Stop = Callable[[], str | None]

_PROMPTS_BETWEEN_STOPS = 64


def run(stage: EvaluateStage, *, inputs: Mapping[str, Path], work: Path, stop: Stop) -> dict[str, Any]:
    """Score the model of the input ``pretrain`` on the data of the other inputs."""
    data = open_data({role: path for role, path in inputs.items() if role != "pretrain"})
    device = resolve_device(stage.evaluation.device, key="evaluation.device")
    model = load_model(inputs["pretrain"], device)
    evaluation = stage.evaluation
    answers = list(_ask(model, data, evaluation, split=evaluation.split, items=evaluation.items, stop=stop))
    write_atomically(work / "item_scores.npz", lambda file: _write_item_scores(file, answers))
    write_atomically(work / "predictions.jsonl", lambda file: _write_predictions(file, answers))
    asked = {answer.task.name: answer.items for answer in answers}
    write_atomically(work / "questions.jsonl", lambda file: write_questions(file, asked))
    return _result(answers)


def score_model(
    model: MultimodalModel,
    data: Data,
    evaluation: EvaluationConfig,
    *,
    split: Literal["validation", "test"],
    items: int,
    stop: Stop = lambda: None,
) -> dict[str, Any]:
    """The result of the stage for a model in memory, written nowhere: the intermediate scores of a training run.

    ``{"scores": [...], "metrics": {...}, "longest_prompt": tokens, "cider_tokenizer": name}``. Leaves the model in the
    mode (training or not) it was in. Raises ``DataError`` for a task that the data does not have, and ``Interrupted``
    if ``stop`` gives a reason.
    """
    return _result(list(_ask(model, data, evaluation, split=split, items=items, stop=stop)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answers:
    """One task at one number of shots."""

    task: Task
    shots: int
    items: Sequence[Item]
    predictions: list[str]
    scores: Mapping[str, np.ndarray]
    longest_prompt: int


def _ask(
    model: MultimodalModel,
    data: Data,
    evaluation: EvaluationConfig,
    *,
    split: Literal["validation", "test"],
    items: int,
    stop: Stop,
) -> Iterator[_Answers]:
    tasks = [data.task(name, split) for name in evaluation.tasks]
    training = model.training
    model.eval()
    try:
        pictures = PictureTable(model)
        for task in tasks:
            shots = evaluation.shots if task.shots else (0,)
            yield from _ask_task(model, data, evaluation, task, pictures, shots=shots, count=items, stop=stop)
    finally:
        model.train(training)


def _ask_task(
    model: MultimodalModel,
    data: Data,
    evaluation: EvaluationConfig,
    task: Task,
    pictures: PictureTable,
    *,
    shots: Sequence[int],
    count: int,
    stop: Stop,
) -> Iterator[_Answers]:
    def halt() -> None:
        reason = stop()
        if reason is not None:
            raise Interrupted(reason)

    items = task.items(count)
    if not items:
        raise DataError(f"{task.name}: the data has no item for this task; drop it from evaluation.tasks")
    builder = PromptBuilder(
        tokenizer=data.tokenizer,
        pictures=pictures,
        num_image_tokens=model.config.connector.num_tokens,
        seed=evaluation.seed,
    )
    prompts = []
    for number, item in enumerate(items):
        if number % _PROMPTS_BETWEEN_STOPS == 0:
            halt()
        prompts.append(builder.build(task, item, shots=shots))
    for number, shot_count in enumerate(shots):
        asked = [prompt[number] for prompt in prompts]
        tokens = generate(
            model,
            asked,
            pictures,
            stop_token=_stop_token(task, data.tokenizer),
            forbidden=(PAD_ID, BOS_ID, IMAGE_ID),
            max_new_tokens=min(task.max_new_tokens, evaluation.max_new_tokens),
            batch_size=evaluation.batch_size,
            between=halt,
        )
        predictions = [data.tokenizer.decode(answer, skip_special_tokens=False).strip() for answer in tokens]
        yield _Answers(
            task=task,
            shots=shot_count,
            items=items,
            predictions=predictions,
            scores=task.score(items, predictions),
            longest_prompt=max(len(prompt.tokens) for prompt in asked),
        )


def _stop_token(task: Task, tokenizer: Tokenizer) -> int:
    token = END_ID if task.stop == END else tokenizer.token_to_id(task.stop)
    if token is None:
        raise DataError(f"{task.name}: its stop token {task.stop!r} is not in the tokenizer's vocabulary")
    return token


def _result(answers: Sequence[_Answers]) -> dict[str, Any]:
    scores: list[Score] = [
        score(answer.task.name, metric, answer.shots, values)
        for answer in answers
        for metric, values in sorted(answer.scores.items())
    ]
    primary = {answer.task.name: answer.task.primary for answer in answers}
    text_only = list(dict.fromkeys(answer.task.name for answer in answers if not answer.task.shots))
    return {
        "scores": [asdict(item) for item in scores],
        "metrics": metrics(scores, primary=primary, text_only=text_only),
        "primary": primary,  # with text_only: which scores the aggregates are made of
        "text_only": text_only,
        "longest_prompt": max(answer.longest_prompt for answer in answers),
        "cider_tokenizer": cider.TOKENIZER,
    }


def _write_item_scores(file: IO[bytes], answers: Sequence[_Answers]) -> None:
    """An ``.npz`` that numpy can read; all members have the same date, so that equal scores give equal bytes."""
    arrays: dict[str, np.ndarray] = {}
    for answer in answers:
        arrays.setdefault(f"{answer.task.name}/ids", np.array([item.id for item in answer.items], dtype=np.str_))
        for metric, values in sorted(answer.scores.items()):
            arrays[f"{answer.task.name}/{metric}/{answer.shots}"] = np.asarray(values, dtype=np.float32)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as entry:
                write_array(entry, array, allow_pickle=False)


def _write_predictions(file: IO[bytes], answers: Sequence[_Answers]) -> None:
    for answer in answers:
        for number, (item, prediction) in enumerate(zip(answer.items, answer.predictions, strict=True)):
            line = {
                "task": answer.task.name,
                "item": item.id,
                "shots": answer.shots,
                "prediction": prediction,
                "references": list(item.references),
                "scores": {metric: round(float(values[number]), 6) for metric, values in sorted(answer.scores.items())},
            }
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
