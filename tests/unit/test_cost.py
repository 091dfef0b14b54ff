"""Costs: parameters are those of the real model, time follows what was measured."""

from dataclasses import replace

import pytest

from ablations.cost import CPU_RATE, Clock, Measured, Work, Works, model_parameters, stage_work
from ablations.stages import Chains
from mm1core.config import (
    ARCHITECTURES,
    Config,
    ConnectorConfig,
    DecoderConfig,
    EncoderConfig,
    EvaluationConfig,
    ImageConfig,
    TrainingConfig,
)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["average_pool", "attention_pool", "c_abstractor"])
def test_parameters_are_those_of_the_model(architecture, kind):
    from mm1core.model import ModelConfig, MultimodalModel
    from mm1core.world.build import word_tokenizer

    config = Config(
        image=ImageConfig(resolution=24, patch_size=4),
        encoder=EncoderConfig(width=32, layers=1, mlp_ratio=3),
        connector=ConnectorConfig(kind=kind, num_tokens=4, width=48, depth=2, mlp_depth=3),
        decoder=DecoderConfig(architecture=architecture, width=64, layers=2),
    )
    model = MultimodalModel(
        ModelConfig(
            image=config.image,
            encoder=config.encoder,
            connector=config.connector,
            decoder=config.decoder,
            vocabulary_size=word_tokenizer(config.data.world).get_vocab_size(),
        )
    )
    assert model_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


def operations(config: Config, kind: str) -> float:
    stage = next(stage for stage in Chains().chain(config, 0) if stage.kind == kind)
    return stage_work(stage, config).operations


def test_training_takes_six_operations_for_each_parameter_and_token():
    """The rule of thumb, without images: 6 N T, plus attention, which is small in short rows."""
    config = Config(decoder=DecoderConfig(width=512, layers=8, heads=8))
    config = replace(config, data=replace(config.data, mix={"text": 1.0}, row_tokens=64))
    tokens = config.training.steps * config.training.rows_per_step * 64
    decoder = model_parameters(config) - model_parameters(replace(config, decoder=DecoderConfig(width=64, layers=1)))
    assert operations(config, "pretrain") == pytest.approx(6 * decoder * tokens, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("pretrain", {"training": TrainingConfig(steps=600)}),
        ("pretrain", {"image": ImageConfig(resolution=96)}),
        ("encoder", {"image": ImageConfig(resolution=96)}),
        ("evaluate", {"evaluation": EvaluationConfig(items=2000)}),
        ("evaluate", {"decoder": DecoderConfig(layers=9)}),
    ],
)
def test_more_work_costs_more(kind, change):
    assert operations(Config(**change), kind) > 1.3 * operations(Config(), kind)


def test_a_frozen_encoder_costs_less():
    assert operations(Config(encoder=EncoderConfig(frozen=True)), "pretrain") < operations(Config(), "pretrain")


def test_shared_work_is_the_work_computed_alone():
    works = Works()
    for config in (Config(), Config(image=ImageConfig(resolution=96)), Config(encoder=EncoderConfig(objective="aim"))):
        for stage in Chains().chain(config, 0):
            assert works.of(stage, config) == stage_work(stage, config)


WORK = Work(parameters=1, operations=1e12)


def test_time_follows_finished_stages_of_like_size():
    clock = Clock(
        {"pretrain": [Measured(operations=2e12, seconds=100), Measured(operations=1e9, seconds=1)]}, gpu=False
    )
    assert clock.seconds("pretrain", WORK) == (50, 1)


def test_without_a_like_one_the_rate_is_assumed():
    clock = Clock({"pretrain": [Measured(operations=1e9, seconds=1)]}, gpu=False)
    seconds, records = clock.seconds("pretrain", WORK)
    assert records == 0
    assert seconds == pytest.approx(1e12 / CPU_RATE, rel=0.1)
    assert Clock({}, gpu=True).seconds("pretrain", WORK)[0] < seconds / 10
