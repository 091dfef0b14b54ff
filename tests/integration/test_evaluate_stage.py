"""The evaluate stage on finished stages of both roads, the world and real files, with a model of random weights."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ablations.metrics import metrics_of
from mm1core.config import (
    Config,
    ConnectorConfig,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    EvaluationConfig,
    FilesConfig,
    ImageConfig,
    TokenizerConfig,
    WorldConfig,
)
from mm1core.errors import DataError, Interrupted
from mm1core.evaluation import evaluate
from mm1core.model import ModelConfig, MultimodalModel, save_model
from mm1core.open import open_data
from mm1core.stages import CorpusStage, EvaluateStage, TokenizerStage, WorldStage

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from shard_files import pairs, write_tar

ITEMS = 12


def go_on():
    return None


def from_files(folder: Path) -> tuple[dict[str, Path], EvaluationConfig]:
    from mm1core.data import corpus, tokenizer

    for name in ("corpus", "tokenizer"):
        (folder / name).mkdir()
    shard = write_tar(folder / "a.tar", pairs(range(80)))
    source = FilesConfig(format="webdataset", paths=(str(shard),), held_out=0.2)
    corpus.run(CorpusStage(source="captions", files=source), inputs={}, work=folder / "corpus", stop=go_on)
    data = {"corpus:captions": folder / "corpus"}
    tokenizer.run(
        TokenizerStage(tokenizer=TokenizerConfig(vocabulary=320)), inputs=data, work=folder / "tokenizer", stop=go_on
    )
    evaluation = EvaluationConfig(tasks=("captioning",), items=ITEMS, max_new_tokens=5)
    return {**data, "tokenizer": folder / "tokenizer"}, evaluation


def from_world(folder: Path) -> tuple[dict[str, Path], EvaluationConfig]:
    from mm1core.world import build

    world = WorldStage(world=WorldConfig(train_scenes=200, evaluation_scenes=60))
    build.run(world, inputs={}, work=folder, stop=go_on)
    return {"world": folder}, EvaluationConfig(items=ITEMS)


@pytest.fixture(scope="module", params=[from_files, from_world])
def inputs_and_stage(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    (folder / "data").mkdir()
    inputs, evaluation = request.param(folder / "data")
    torch.manual_seed(0)
    model = MultimodalModel(
        ModelConfig(
            image=ImageConfig(resolution=16, patch_size=8),
            encoder=EncoderConfig(objective="none", width=16, layers=1, heads=2),
            connector=ConnectorConfig(num_tokens=4),
            decoder=DecoderConfig(width=16, layers=2, heads=2, residual_scale=4.0),
            vocabulary_size=open_data(inputs).tokenizer.get_vocab_size(),
        )
    )
    save_model(model, folder / "pretrain")
    return {**inputs, "pretrain": folder / "pretrain"}, EvaluateStage(evaluation=evaluation)


@pytest.fixture(scope="module")
def finished(inputs_and_stage, tmp_path_factory):
    inputs, stage = inputs_and_stage
    work = tmp_path_factory.mktemp("work")
    return stage, work, evaluate.run(stage, inputs=inputs, work=work, stop=go_on)


def test_a_second_run_gives_the_same_bytes(inputs_and_stage, finished, tmp_path):
    inputs, stage = inputs_and_stage
    _, work, result = finished
    assert evaluate.run(stage, inputs=inputs, work=tmp_path, stop=go_on) == result
    assert sorted(path.name for path in work.iterdir()) == ["item_scores.npz", "predictions.jsonl", "questions.jsonl"]
    for name in ("item_scores.npz", "predictions.jsonl", "questions.jsonl"):
        assert (tmp_path / name).read_bytes() == (work / name).read_bytes()


def test_the_result_is_the_mean_of_the_files(finished):
    stage, work, result = finished
    lines = [json.loads(line) for line in (work / "predictions.jsonl").read_text().splitlines()]
    arrays = np.load(work / "item_scores.npz", allow_pickle=False)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    shots = {"text_core": (0,)}
    expected = [
        (name, count, item)
        for name in stage.evaluation.tasks
        for count in shots.get(name, (0, 4, 8))
        for item in arrays[f"{name}/ids"]
    ]
    assert [(line["task"], line["shots"], line["item"]) for line in lines] == expected
    assert len(set(expected)) == len(expected)
    for score in result["scores"]:
        values = arrays[f"{score['task']}/{score['metric']}/{score['shots']}"]
        assert values.dtype == np.float32
        assert values.shape == (score["n"],) == (ITEMS,)
        assert values.mean() == pytest.approx(score["mean"], abs=1e-6)
        assert result["metrics"][f"eval/{score['task']}/{score['metric']}/{score['shots']}"] == score["mean"]
        told = [
            line["scores"][score["metric"]]
            for line in lines
            if (line["task"], line["shots"]) == (score["task"], score["shots"])
        ]
        np.testing.assert_allclose(told, values, atol=1e-6)
    assert {"eval/zero_shot", "eval/four_shot", "eval/eight_shot", "eval/few_shot/mean"} <= set(result["metrics"])


def test_the_metrics_are_those_a_sweep_may_name_as_its_objective(inputs_and_stage, finished):
    inputs, stage = inputs_and_stage
    files = FilesConfig(format="webdataset", paths=("a.tar",))
    config = Config(
        encoder=EncoderConfig(objective="none"),
        data=DataConfig(mix={"captions": 1.0}, sources={} if "world" in inputs else {"captions": files}),
        evaluation=stage.evaluation,
    )
    assert set(finished[2]["metrics"]) == set(metrics_of(config))


def test_the_scores_in_memory_are_those_of_the_stage(inputs_and_stage, finished):
    from mm1core.model import load_model

    inputs, stage = inputs_and_stage
    model = load_model(inputs["pretrain"], "cpu")
    data = open_data({role: path for role, path in inputs.items() if role != "pretrain"})
    assert evaluate.score_model(model, data, stage.evaluation, split="test", items=ITEMS) == finished[2]


def test_the_splits_ask_different_questions(inputs_and_stage):
    inputs, stage = inputs_and_stage
    data = open_data({role: path for role, path in inputs.items() if role != "pretrain"})
    for name in stage.evaluation.tasks:
        asked = {split: {item.id for item in data.task(name, split).items(ITEMS)} for split in ("validation", "test")}
        assert not asked["validation"] & asked["test"]


def test_a_stopped_stage_leaves_nothing_and_starts_again(inputs_and_stage, finished, tmp_path):
    inputs, stage = inputs_and_stage
    answers = iter([None, None, None, "preempted"])
    with pytest.raises(Interrupted) as caught:
        evaluate.run(stage, inputs=inputs, work=tmp_path, stop=lambda: next(answers))
    assert caught.value.reason == "preempted"
    assert list(tmp_path.iterdir()) == []
    assert evaluate.run(stage, inputs=inputs, work=tmp_path, stop=go_on) == finished[2]


def test_a_task_the_files_have_not_is_refused_by_name(tmp_path):
    inputs, _ = from_files(tmp_path)
    with pytest.raises(DataError, match="captioning"):
        open_data(inputs).task("colour", "test")
