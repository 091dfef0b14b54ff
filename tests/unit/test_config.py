"""Configurations: what cannot be run is refused when the sweep is read, not when a training is paid for."""

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from sweep_files import planned

from ablations.configuration import Leaf, leaves
from ablations.errors import SweepError
from ablations.plan import plan_document
from mm1core.config import Config, OptimisationConfig
from mm1core.encoder import ImageEncoder
from mm1core.model import ModelConfig, MultimodalModel
from mm1core.objectives.aim import Aim
from mm1core.objectives.clip import Clip
from mm1core.optimisers import build_optimisers, schedule


def numbers(leaf: Leaf) -> list[type]:
    """The types of the numbers of a leaf; empty for one that holds none."""
    kinds = get_args(leaf.annotation) or (leaf.annotation,)
    return [kind for kind in kinds if kind in (int, float)]


NUMBERS = {key: numbers(leaf) for key, leaf in leaves().items() if numbers(leaf)}


@pytest.mark.parametrize("value", [-1, 0, 10**32])
@pytest.mark.parametrize("key", NUMBERS)
def test_every_number_is_refused_with_its_place_or_can_be_built(tmp_path, key, value):
    kinds = NUMBERS[key]
    written: Any = kinds[0](value)
    if "tuple" in str(leaves()[key].annotation):
        written = [kind(value) for kind in kinds]
    text = f"name: a\ndesign: list\narms: {{it: {{{key}: {json.dumps(written)}}}}}\n"
    plan, refused = None, None
    try:
        plan = planned(tmp_path, text + "objective: {metric: eval/text_core}\n")
    except SweepError as error:
        refused = error
    if plan is not None:
        json.dumps(plan_document(plan), allow_nan=False)
        build(plan.arms[0].config)
    else:
        assert refused is not None
        assert {(problem.line, (problem.key or "").startswith("arms.it.")) for problem in refused.problems} == {
            (3, True)
        }


def build(config: Config) -> None:
    """All that a training makes of a configuration before its first step."""
    sections = {"image": config.image, "encoder": config.encoder, "decoder": config.decoder}
    model = MultimodalModel(ModelConfig(**sections, connector=config.connector, vocabulary_size=170))
    build_optimisers(model, config.optimisation)
    assert all(0 <= schedule(step, 300, config.optimisation) <= 1 for step in (0, 299))
    training = config.encoder.training
    encoder = ImageEncoder(config.image, config.encoder)
    Aim(encoder, width=config.encoder.width, head_layers=training.head_layers)
    heads, layers = config.encoder.heads, training.text_layers
    Clip(encoder, width=config.encoder.width, heads=heads, layers=layers, vocabulary_size=170, length=8)
    rates = {name: getattr(training, name) for name in ("learning_rate", "matrix_learning_rate", "warmup_steps")}
    build_optimisers(encoder, replace(OptimisationConfig(), **rates))


SOURCES = "data.sources: {{captions: {{format: webdataset, paths: [a.tar]{more}}}}}, data.mix: {{captions: 1}}"
FILES = SOURCES + ", encoder.training.source: captions, evaluation.tasks: [captioning]"


@pytest.mark.parametrize(
    ("settings", "key", "said"),
    [
        ("encoder.width: 0", "encoder.width", "positive"),
        ("decoder.width: -64", "decoder.width", "positive"),
        ("encoder.mlp_ratio: 0", "encoder.mlp_ratio", "positive"),
        ("encoder.seed: -1", "encoder.seed", "between"),
        ("optimisation.betas: [0.9, 1.0]", "optimisation.betas", "below 1"),
        ("optimisation.weight_decay: -0.1", "optimisation.weight_decay", "negative"),
        ("data.answer_weight: -4", "data.answer_weight", "negative"),
        ("data.mix: {captions: 1.0e+308, text: 1.0e+308}", "data.mix", "proportions"),
        ("encoder.objective: aim, image.resolution: 8, connector.num_tokens: 1", "encoder.objective", "single"),
        ("evaluation.shots: [0, 513]", "evaluation.shots", "512 candidates"),
        ("evaluation.shots: [0, 8], data.world.train_scenes: 5", "evaluation.shots", "5 candidates"),
        ("training.device: tpu", "training.device", "not a device"),
        ("evaluation.device: cuda:x", "evaluation.device", "not a device"),
        (FILES.format(more=", held_out: 0"), "data.sources.captions.held_out", "nothing to ask"),
        (FILES.format(more=", max_pixels: 0"), "data.sources.captions.max_pixels", "positive"),
        (FILES.format(more="").replace("captions: {", "text: {").replace("webdataset", "jsonl")
         .replace("captions: 1", "text: 1"), "data.sources", "no images"),
        (FILES.format(more="") + ", evaluation.shots: [0, 2049]", "evaluation.shots", "2048 candidates"),
    ],
)  # fmt: skip
def test_what_can_only_fail_later_is_refused(tmp_path, settings, key, said):
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(SweepError, match=said) as caught:
        planned(tmp_path, f"name: a\nset: {{{settings}}}\naxes: {{decoder.layers: [1, 2]}}\n")
    assert caught.value.problems[0].key == f"set.{key}"


@pytest.mark.parametrize(
    "settings",
    [
        "evaluation.shots: [0, 1000], evaluation.tasks: [text_core]",
        "training.device: 'cuda:1', evaluation.device: cpu",
        "encoder.objective: none, image.resolution: 8, connector.num_tokens: 1",
        "optimisation.betas: [0, 0.999]",
    ],
)
def test_what_can_be_run_is_not_refused(tmp_path, settings):
    text = f"name: a\nset: {{{settings}}}\naxes: {{decoder.layers: [1, 2]}}\nobjective: {{metric: eval/text_core}}\n"
    assert planned(tmp_path, text).arms


def test_rows_that_the_processes_of_a_trial_cannot_share_are_refused(tmp_path):
    text = "name: a\nset: {training.rows_per_step: 8, training.micro_batches: 2}\naxes: {decoder.layers: [1, 2]}\n"
    assert planned(tmp_path, text + "resources: {nodes: 2, gpus: 2}\n").arms
    assert planned(tmp_path, text + "resources: {nodes: 4}\n").arms
    with pytest.raises(SweepError, match="multiple of 16") as caught:
        planned(tmp_path, text + "resources: {nodes: 2, gpus: 4}\n")
    assert (caught.value.problems[0].line, caught.value.problems[0].key) == (4, "resources")
