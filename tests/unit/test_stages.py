"""Which stages a configuration needs, and what arms share."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from fixed_configuration import FIXED, fixed_config
from hypothesis import given
from hypothesis import strategies as st

from ablations.configuration import ConfigBuilder, leaves
from ablations.stages import Chains, Stage, input_kind, normalised_mix
from mm1core.config import Config, DataConfig, EncoderConfig, EvaluationConfig, FilesConfig, TrainingConfig

GOLDEN = {
    "world": "55c813b0cb96",
    "encoder": "c8ac6753d860",
    "pretrain": "7b0af80cf872",
    "evaluate": "9cb7014e4a17",
}
"""The fixed configuration at seed 0. See ``test_identity.GOLDEN``."""


def chain(config: Config | None = None, seed: int = 0) -> dict[str, Stage]:
    return {stage.kind: stage for stage in Chains().chain(config or fixed_config(), seed)}


def keys(config: Config | None = None, seed: int = 0) -> dict[str, str]:
    return {kind: stage.key for kind, stage in chain(config, seed).items()}


def test_keys_of_a_whole_chain_do_not_move():
    assert keys() == GOLDEN


def test_each_stage_comes_after_its_inputs_and_knows_their_keys():
    stages = Chains().chain(Config(), 0)
    seen: dict[str, Stage] = {}
    for stage in stages:
        for role, key in stage.inputs.items():
            assert seen[key].kind == input_kind(role)
        seen[stage.key] = stage
    assert [stage.kind for stage in stages] == ["world", "encoder", "pretrain", "evaluate"]
    assert set(stages[-1].inputs) == {"world", "pretrain"}
    assert set(stages[2].inputs) == {"world", "encoder"}


def test_a_random_encoder_needs_no_stage():
    config = fixed_config(encoder__objective="none")
    assert list(keys(config)) == ["world", "pretrain", "evaluate"]
    assert set(chain(config)["pretrain"].inputs) == {"world"}
    assert keys(config)["pretrain"] != keys()["pretrain"]


def test_seeds_are_full_replicates_unless_the_encoder_has_its_own():
    assert keys(seed=1)["world"] == keys(seed=0)["world"]
    assert keys(seed=1)["encoder"] != keys(seed=0)["encoder"]
    fixed = fixed_config(encoder__seed=0)
    assert keys(fixed, 1)["encoder"] == keys(fixed, 0)["encoder"] == keys(seed=0)["encoder"]
    assert keys(fixed, 1)["pretrain"] != keys(fixed, 0)["pretrain"]


@pytest.mark.parametrize(
    "change",
    [
        {"connector__kind": "c_abstractor"},
        {"decoder__layers": 2},
        {"data__mix": {"captions": 1.0}},
        {"training__steps": 7},
        {"training__rows_per_step": 4},
        {"optimisation__learning_rate": 0.1},
        {"encoder__frozen": True},
        {"evaluation__items": 3},
    ],
)
def test_what_comes_later_shares_the_encoder(change):
    changed = keys(fixed_config(**change))
    assert changed["encoder"] == GOLDEN["encoder"]
    assert changed["evaluate"] != GOLDEN["evaluate"]


def test_evaluation_alone_shares_the_trained_model():
    assert keys(fixed_config(evaluation__items=3))["pretrain"] == GOLDEN["pretrain"]


def test_intermediate_scores_change_no_key_but_reach_the_training():
    config = fixed_config(evaluation__every=50, evaluation__intermediate_items=9)
    assert keys(config) == GOLDEN
    intermediate = chain(config)["pretrain"].config.intermediate
    assert (intermediate.every, intermediate.intermediate_items) == (50, 9)
    assert chain()["pretrain"].config.intermediate is None


def test_execution_settings_reach_the_stages_and_change_no_key():
    config = fixed_config(training__micro_batches=2, training__device="cpu", evaluation__batch_size=5)
    assert keys(config) == GOLDEN
    stages = chain(config)
    assert stages["pretrain"].config.training.micro_batches == 2
    assert stages["encoder"].config.training.device == "cpu"
    assert stages["evaluate"].config.evaluation.batch_size == 5


def files(name: str) -> FilesConfig:
    kind = "jsonl" if name == "text" else "webdataset"
    return FilesConfig(format=kind, paths=(f"{name}.tar",), fingerprint=name)


def file_config(**sources: FilesConfig) -> Config:
    return Config(
        data=DataConfig(sources=sources, mix=dict.fromkeys(sources, 1.0)),
        encoder=EncoderConfig(objective="none"),
        evaluation=EvaluationConfig(tasks=("captioning",)),
    )


def test_files_are_indexed_each_and_tokenized_together():
    stages = Chains().chain(file_config(captions=files("captions"), text=files("text")), 0)
    assert [stage.kind for stage in stages] == ["corpus", "corpus", "tokenizer", "pretrain", "evaluate"]
    assert set(stages[2].inputs) == {"corpus:captions", "corpus:text"}
    assert set(stages[3].inputs) == {"corpus:captions", "corpus:text", "tokenizer"}
    assert set(stages[4].inputs) == {"corpus:captions", "corpus:text", "tokenizer", "pretrain"}


def test_sources_that_read_the_same_files_share_their_index():
    shared = files("captions")
    stages = Chains().chain(file_config(captions=shared, interleaved=shared, text=files("text")), 0)
    assert [stage.kind for stage in stages] == ["corpus", "corpus", "tokenizer", "pretrain", "evaluate"]
    roles = stages[3].inputs
    assert roles["corpus:captions"] == roles["corpus:interleaved"] != roles["corpus:text"]
    apart = file_config(captions=shared, interleaved=replace(shared, held_out=0.2), text=files("text"))
    assert len(Chains().chain(apart, 0)) == 6


def test_which_source_reads_which_files_is_identity():
    """The mix has one source alone, and the files of the two are exchanged."""
    one, other = files("captions"), files("interleaved")
    mix = {"interleaved": 1.0}
    found = [
        Chains().chain(replace(config, data=replace(config.data, mix=mix)), 0)[-2].key
        for config in (
            file_config(interleaved=one, synthetic_captions=other),
            file_config(captions=one, interleaved=other),
        )
    ]
    assert found[0] != found[1]


def test_the_content_of_files_is_identity_and_their_place_is_not():
    here = file_config(captions=files("captions"))
    moved = file_config(captions=replace(files("captions"), paths=("elsewhere/captions.tar",)))
    edited = file_config(captions=replace(files("captions"), fingerprint="new"))
    assert keys(here) == keys(moved)
    assert not set(keys(here).values()) & set(keys(edited).values())


def test_every_identity_field_of_a_configuration_changes_the_trial():
    """But those that have no effect there: the file sources' in a world, the encoder's own seed where it is set."""
    seen = {keys()["evaluate"]: "the start"}
    skipped = {"data.tokenizer.vocabulary", "data.sources", "evaluation.every", "evaluation.intermediate_items"}
    for key, leaf in leaves().items():
        if key in skipped or not leaf.identity:
            continue
        value = OTHER[key] if key in OTHER else other(FIXED[key])
        start = FIXED | USED_WITH.get(key, {})
        if key in USED_WITH:
            assert keys(ConfigBuilder(FIXED | {key: value}).build({})) == GOLDEN, f"{key} has no effect here"
            assert keys(ConfigBuilder(start | {key: value}).build({})) != keys(ConfigBuilder(start).build({}))
        trial = keys(ConfigBuilder(start | {key: value}).build({}))["evaluate"]
        assert trial not in seen, f"{key} gives the same trial as {seen[trial]}"
        seen[trial] = key


USED_WITH: dict[str, dict[str, Any]] = {
    "connector.heads": {"connector.kind": "attention_pool"},
    "connector.width": {"connector.kind": "c_abstractor"},
    "connector.depth": {"connector.kind": "c_abstractor"},
    "connector.mlp_depth": {"connector.kind": "c_abstractor"},
    "optimisation.weight_decay": {"optimisation.optimizer": "adamw"},
    "encoder.training.head_layers": {"encoder.objective": "aim"},
}
"""What must be chosen for a field to have an effect that it has not in the fixed configuration."""


@pytest.mark.parametrize(
    ("start", "change"),
    [
        ({"connector__kind": "attention_pool"}, {"connector__width": 32, "connector__depth": 2}),
        ({"connector__kind": "attention_pool"}, {"connector__mlp_depth": 1}),
        ({"connector__kind": "c_abstractor"}, {"connector__heads": 2}),
        ({"optimisation__optimizer": "adamw"}, {"optimisation__matrix_learning_rate": 0.5}),
        ({"encoder__objective": "aim"}, {"encoder__training__text_layers": 3}),
        ({"encoder__objective": "none"}, {"encoder__training__steps": 3}),
    ],
)
def test_what_nothing_reads_changes_no_key(start, change):
    assert keys(fixed_config(**start, **change)) == keys(fixed_config(**start)) != keys()


OTHER: dict[str, Any] = {
    "image.resolution": 96,
    "image.patch_size": 16,
    "image.acuity": 12,
    "encoder.objective": "aim",
    "encoder.heads": 8,
    "encoder.width": 128,
    "encoder.seed": 5,
    "encoder.training.source": "captions",
    "connector.kind": "attention_pool",
    "connector.heads": 8,
    "connector.num_tokens": 4,
    "decoder.architecture": "llama",
    "decoder.heads": 8,
    "decoder.width": 128,
    "decoder.extra": {"hidden_act": "relu"},
    "data.mix": {"captions": 1.0},
    "data.world.dialects": 2,
    "optimisation.optimizer": "adamw",
    "optimisation.betas": (0.9, 0.95),
    "optimisation.schedule": "cosine",
    "training.precision": "bf16",
    "evaluation.tasks": ("colour",),
    "evaluation.shots": (0, 4),
    "evaluation.split": "validation",
}


def other(default: Any) -> Any:
    if isinstance(default, bool):
        return not default
    return default + 1 if isinstance(default, int) else default / 2 + 0.011


def test_the_values_to_try_are_other_ones():
    config = fixed_config()
    for key, value in OTHER.items():
        assert reduce(getattr, key.split("."), config) != value


@given(
    st.dictionaries(st.sampled_from(["captions", "interleaved", "text"]), st.integers(1, 1000), min_size=1),
    st.sampled_from([1, 10, 100, 1000]),
)
def test_equal_proportions_are_equal_mixes(weights, scale):
    shares = {name: weight / scale for name, weight in weights.items()}
    mix = normalised_mix(weights)
    assert normalised_mix(shares) == mix
    assert normalised_mix(dict(reversed(weights.items())) | {"synthetic_captions": 0}) == mix
    assert sum(mix.values()) == pytest.approx(1)
    assert list(mix) == sorted(mix)


def test_equal_mixes_are_the_same_trial_and_the_same_arm():
    chains = Chains()
    written = [
        {"captions": 0.45, "interleaved": 0.45, "text": 0.10},
        {"text": 10, "interleaved": 45, "captions": 45},
        {"captions": 9, "interleaved": 9, "text": 2, "synthetic_captions": 0},
    ]
    configs = [Config(data=DataConfig(mix=mix)) for mix in written]
    assert len({chains.chain(config, 0)[-1].key for config in configs}) == 1
    assert len({chains.arm_key(config) for config in configs}) == 1


def test_chains_remember_nothing_wrong():
    """Keys from one object that built many chains equal keys built alone."""
    chains = Chains()
    configs = [
        Config(training=TrainingConfig(steps=steps), encoder=EncoderConfig(layers=layers))
        for steps in (1, 2)
        for layers in (1, 2)
    ]
    for seed in (0, 1):
        for config in configs:
            assert {stage.kind: stage.key for stage in chains.chain(config, seed)} == keys(config, seed)
