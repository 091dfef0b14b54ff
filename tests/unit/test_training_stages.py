"""The encoder and pre-training stages end to end, on a small world built here."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training as tiny
import torch
from safetensors.torch import load_file
from shard_files import write_lines

from mm1core import spool
from mm1core.config import (
    DataConfig,
    EncoderConfig,
    EncoderTrainingConfig,
    EvaluationConfig,
    FilesConfig,
    ImageConfig,
    OptimisationConfig,
    TokenizerConfig,
    TrainingConfig,
    WorldConfig,
)
from mm1core.data import corpus, tokenizer
from mm1core.errors import ConfigError, DataError, Interrupted
from mm1core.model import load_model
from mm1core.objectives import pretrain_encoder
from mm1core.stages import CorpusStage, EncoderStage, TokenizerStage, WorldStage
from mm1core.train import run
from mm1core.world import build

IMAGE = ImageConfig(resolution=24, patch_size=8)
DATA = DataConfig(mix={"synthetic_captions": 0.4, "interleaved": 0.4, "text": 0.2}, row_tokens=120)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("world")
    build.run(WorldStage(world=WorldConfig(train_scenes=60, evaluation_scenes=30)), inputs={}, work=work, stop=go_on)
    return work


def go_on() -> None:
    return None


def encoder_stage(objective: str, seed: int = 0, steps: int = 4) -> EncoderStage:
    return EncoderStage(
        image=IMAGE,
        encoder=replace(tiny.ENCODER, objective=objective, training=EncoderTrainingConfig(steps=steps, batch_size=6)),
        seed=seed,
        training=TrainingConfig(device="cpu", log_every=1, checkpoint_every=2),
    )


def pretrain_stage(**changes):
    return tiny.pretrain_stage(**({"image": IMAGE, "data": DATA, "steps": 4} | changes))


def after(count: int):
    calls = iter(range(1, 10_000))
    return lambda: "preempted" if next(calls) == count else None


@pytest.mark.parametrize("objective", ["clip", "aim"])
def test_encoder_stage_trains_resumes_exactly_and_keeps_the_encoder_alone(world, tmp_path, objective):
    stage = encoder_stage(objective)
    result = pretrain_encoder.run(stage, inputs={"world": world}, work=tmp_path / "a", stop=go_on)
    with pytest.raises(Interrupted):
        pretrain_encoder.run(stage, inputs={"world": world}, work=tmp_path / "b", stop=after(3))
    assert not (tmp_path / "b" / "encoder.safetensors").exists()
    assert pretrain_encoder.run(stage, inputs={"world": world}, work=tmp_path / "b", stop=go_on) == result
    first, second = (load_file(tmp_path / name / "encoder.safetensors") for name in "ab")
    assert first.keys() == second.keys() == tiny.model(image=IMAGE).encoder.state_dict().keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert result["images"] == 24
    json.dumps(result)
    lines = spool.read(tmp_path / "a" / "spool.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert ("encoder/accuracy" in lines[0]["metrics"]) == (objective == "clip")
    described = json.loads((tmp_path / "a" / "encoder.json").read_text())
    assert described["encoder"]["objective"] == objective


def test_encoder_stage_learns(world, tmp_path):
    pretrain_encoder.run(encoder_stage("clip", steps=25), inputs={"world": world}, work=tmp_path, stop=go_on)
    losses = [line["metrics"]["encoder/loss"] for line in spool.read(tmp_path / "spool.jsonl")]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_encoder_stage_seeds_differ_and_workers_do_not_matter(world, tmp_path):
    found = []
    for name, stage in {
        "a": encoder_stage("aim"),
        "b": encoder_stage("aim", seed=1),
        "c": replace(encoder_stage("aim"), training=TrainingConfig(device="cpu", data_workers=2)),
    }.items():
        pretrain_encoder.run(stage, inputs={"world": world}, work=tmp_path / name, stop=go_on)
        found.append(load_file(tmp_path / name / "encoder.safetensors")["position"])
    assert not torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_an_objective_or_source_that_cannot_train_is_refused(world, tmp_path):
    with pytest.raises(ConfigError, match=r"encoder\.objective"):
        pretrain_encoder.run(encoder_stage("none"), inputs={"world": world}, work=tmp_path, stop=go_on)
    stage = encoder_stage("clip")
    unknown = replace(stage, encoder=replace(stage.encoder, training=EncoderTrainingConfig(source="photos")))
    with pytest.raises(ConfigError, match=r"encoder\.training\.source.*captions"):
        pretrain_encoder.run(unknown, inputs={"world": world}, work=tmp_path, stop=go_on)
    text = replace(stage, encoder=replace(stage.encoder, training=EncoderTrainingConfig(source="text")))
    with pytest.raises(DataError, match="no picture followed by text"):
        pretrain_encoder.run(text, inputs={"world": world}, work=tmp_path, stop=go_on)


def test_pretrain_stage_writes_a_model_and_the_same_result_after_a_stop(world, tmp_path):
    stage = pretrain_stage()
    result = run(stage, inputs={"world": world}, work=tmp_path / "a", stop=go_on)
    with pytest.raises(Interrupted):
        run(stage, inputs={"world": world}, work=tmp_path / "b", stop=after(2))
    assert run(stage, inputs={"world": world}, work=tmp_path / "b", stop=go_on) == result
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    json.dumps(result)
    assert result["steps"] == 4
    assert result["tokens"] > 0
    assert result["images"] > 0
    model = load_model(tmp_path / "a", "cpu")
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == result["parameters"]


@pytest.mark.parametrize("frozen", [False, True])
def test_text_alone_trains_and_resumes_exactly(tmp_path, frozen):
    """No image in any step: encoder and connector get no gradient, and stay what they were."""
    lines = write_lines(tmp_path / "lines.jsonl", [{"text": f"line {number} of a text"} for number in range(60)])
    inputs = {"corpus:text": tmp_path / "corpus", "tokenizer": tmp_path / "tokenizer"}
    for folder in inputs.values():
        folder.mkdir()
    files = FilesConfig(format="jsonl", paths=(str(lines),))
    corpus.run(CorpusStage(source="text", files=files), inputs={}, work=inputs["corpus:text"], stop=go_on)
    vocabulary = TokenizerStage(tokenizer=TokenizerConfig(vocabulary=300))
    tokenizer.run(vocabulary, inputs=inputs, work=inputs["tokenizer"], stop=go_on)

    data = DataConfig(mix={"text": 1.0}, row_tokens=60)
    stage = pretrain_stage(data=data, encoder=replace(tiny.ENCODER, frozen=frozen))
    result = run(stage, inputs=inputs, work=tmp_path / "a", stop=go_on)
    for step in (1, 2):
        with pytest.raises(Interrupted):
            run(stage, inputs=inputs, work=tmp_path / "b", stop=after(step))
    assert run(stage, inputs=inputs, work=tmp_path / "b", stop=go_on) == result
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert result["images"] == 0
    assert result["tokens"] > 0
    trained = load_model(tmp_path / "a", "cpu")
    torch.manual_seed(stage.seed)
    untouched = type(trained)(trained.config)
    for name, weights in untouched.state_dict().items():
        assert torch.equal(weights, trained.state_dict()[name]) == (not name.startswith("decoder")), name


def test_pretraining_starts_from_the_encoder_it_is_given(world, tmp_path):
    pretrain_encoder.run(encoder_stage("clip"), inputs={"world": world}, work=tmp_path / "encoder", stop=go_on)
    stage = pretrain_stage(steps=1, encoder=replace(tiny.ENCODER, frozen=True))
    run(stage, inputs={"world": world, "encoder": tmp_path / "encoder"}, work=tmp_path / "a", stop=go_on)
    given = load_file(tmp_path / "encoder" / "encoder.safetensors")
    kept = load_model(tmp_path / "a", "cpu").encoder.state_dict()
    assert all(torch.equal(given[name], kept[name]) for name in given)
    run(stage, inputs={"world": world}, work=tmp_path / "b", stop=go_on)
    assert not torch.equal(load_model(tmp_path / "b", "cpu").encoder.position, kept["position"])


def test_an_encoder_of_another_size_is_refused(world, tmp_path):
    pretrain_encoder.run(encoder_stage("clip", steps=1), inputs={"world": world}, work=tmp_path / "e", stop=go_on)
    stage = pretrain_stage(encoder=EncoderConfig(objective="none", width=32, layers=2, heads=2))
    with pytest.raises(DataError, match="another model"):
        run(stage, inputs={"world": world, "encoder": tmp_path / "e"}, work=tmp_path / "a", stop=go_on)


def test_intermediate_scores_are_on_the_validation_split_and_change_nothing(world, tmp_path):
    run(pretrain_stage(), inputs={"world": world}, work=tmp_path / "a", stop=go_on)
    scoring = EvaluationConfig(tasks=("colour", "text_core"), shots=(0, 2), every=2, intermediate_items=5)
    run(pretrain_stage(intermediate=scoring), inputs={"world": world}, work=tmp_path / "b", stop=go_on)
    scored = [line for line in spool.read(tmp_path / "b" / "spool.jsonl") if "eval/colour/exact/2" in line["metrics"]]
    assert [line["step"] for line in scored] == [2, 4]
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_pretraining_learns(world, tmp_path):
    decoder = replace(tiny.DECODER, width=32, logits_scale=0.25)
    optimisation = OptimisationConfig(warmup_steps=2, learning_rate=0.02, matrix_learning_rate=0.03)
    stage = pretrain_stage(steps=30, decoder=decoder, optimisation=optimisation)
    run(stage, inputs={"world": world}, work=tmp_path, stop=go_on)
    losses = [line["metrics"]["train/loss"] for line in spool.read(tmp_path / "spool.jsonl")]
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])
