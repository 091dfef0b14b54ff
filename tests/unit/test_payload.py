"""Configurations survive the way to the job's process unchanged, and nothing else gets through."""

import json
from dataclasses import replace

import pytest

from ablations.payload import PayloadError, decode, encode
from mm1core.config import Config, EvaluationConfig, FilesConfig, ImageConfig
from mm1core.errors import ConfigError
from mm1core.stages import CorpusStage, PretrainStage


def there_and_back(config):  # type: ignore[no-untyped-def]
    return decode(type(config), json.loads(json.dumps(encode(config))))


def test_every_section_survives():
    config = Config()
    files = FilesConfig(format="webdataset", paths=("a.tar", "b.tar"), group="page")
    data = replace(config.data, sources={"captions": files}, mix={"captions": 1.0})
    evaluation = EvaluationConfig(tasks=("captioning",))
    encoder = replace(config.encoder, objective="none")
    config = replace(config, data=data, encoder=encoder, evaluation=evaluation)
    assert there_and_back(config) == config
    stage = PretrainStage(
        image=ImageConfig(resolution=32, acuity=16),
        encoder=config.encoder,
        connector=config.connector,
        decoder=replace(config.decoder, extra={"attention_bias": True, "list": [1, 2]}),
        data=config.data,
        optimisation=replace(config.optimisation, betas=(0.8, 0.95)),
        training=config.training,
        seed=3,
        intermediate=EvaluationConfig(every=10),
    )
    assert there_and_back(stage) == stage
    assert there_and_back(CorpusStage(source="captions", files=files)).files.paths == ("a.tar", "b.tar")


def test_a_whole_number_for_a_float_is_one_and_nothing_else_is_converted():
    payload = encode(Config().optimisation)
    assert isinstance(decode(type(Config().optimisation), {**payload, "learning_rate": 1}).learning_rate, float)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"resolution": "48"}, "config.resolution"),
        ({"resolution": 48.0}, "config.resolution"),
        ({"resolution": True}, "config.resolution"),
        ({"acuity": 1.5}, "config.acuity"),
        ({"unknown": 1}, "config: has the fields"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change, place):
    with pytest.raises(PayloadError, match=place):
        decode(ImageConfig, {**encode(ImageConfig()), **change})


def test_a_missing_field_is_refused():
    payload = encode(ImageConfig())
    del payload["acuity"]
    with pytest.raises(PayloadError, match="has the fields"):
        decode(ImageConfig, payload)


def test_the_configurations_own_checks_still_run():
    with pytest.raises(ConfigError):
        decode(ImageConfig, {**encode(ImageConfig()), "resolution": 50})
