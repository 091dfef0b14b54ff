"""The language model: a causal decoder of Transformers, built from the configuration and initialised here.

Whatever the architecture: rotary positions, word embeddings tied to the output, logits multiplied by
``decoder.logits_scale`` exactly once, full (not sliding) attention by SDPA. ``packing_mask`` keeps the documents of a
packed row apart.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mm1core.config import DecoderConfig
from mm1core.errors import ConfigError
from mm1core.transformer import initialise

_RESIDUAL = ("o_proj", "down_proj", "c_proj")
"""What Transformers calls the matrices that write to the residual stream, in the supported architectures."""


def build_decoder(config: DecoderConfig, vocabulary_size: int) -> PreTrainedModel:
    """A decoder with fresh weights. Raises ``ConfigError`` for what ``decoder.extra`` may not hold."""
    settings = _settings(config, vocabulary_size)
    settings.update(_checked(config, settings))
    try:
        described = AutoConfig.for_model(config.architecture, **settings)
        decoder: PreTrainedModel = AutoModelForCausalLM.from_config(described, attn_implementation="sdpa")
    except Exception as error:  # of several classes, some from libraries that Transformers uses
        raise ConfigError("decoder.extra", f"Transformers refuses {dict(config.extra)}: {error}") from error
    if "logits_scaling" not in settings:
        scale = config.logits_scale
        decoder.get_output_embeddings().register_forward_hook(lambda module, inputs, logits: logits * scale)
    initialise(decoder.base_model, residual=_RESIDUAL, residual_scale=config.residual_scale)
    nn.init.normal_(word_embeddings(decoder).weight, std=config.embedding_std)
    return decoder


def word_embeddings(decoder: PreTrainedModel) -> nn.Embedding:
    """The table of word embeddings, which is the output matrix as well."""
    table = decoder.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    return table


def packing_mask(documents: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Document numbers (R, L) to an additive mask (R, 1, L, L): a token sees its document up to itself.

    Padding is a document too, so that no row of the mask is empty, which would give NaN.
    """
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    seen = (documents[:, :, None] == documents[:, None, :]) & causal
    return torch.zeros(seen.shape, dtype=dtype, device=documents.device).masked_fill_(~seen, -torch.inf)[:, None]


def _settings(config: DecoderConfig, vocabulary_size: int) -> dict[str, Any]:
    head_width = config.width // config.heads
    settings: dict[str, Any] = {
        "vocab_size": vocabulary_size,
        "hidden_size": config.width,
        "intermediate_size": config.feed_forward_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.heads,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": True,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    match config.architecture:
        case "granite":  # its own defaults are not neutral: it would not scale queries at all
            settings |= {"attention_multiplier": head_width**-0.5, "logits_scaling": 1 / config.logits_scale}
        case "mistral":
            settings |= {"sliding_window": None}
        case "qwen3":
            settings |= {"head_dim": head_width}
        case "starcoder2":
            settings |= {"use_bias": False, "hidden_act": "gelu"}
    return settings


_OURS = {
    "vocab_size": "the tokenizer",
    "hidden_size": "decoder.width",
    "intermediate_size": "decoder.width and decoder.mlp_ratio",
    "num_hidden_layers": "decoder.layers",
    "num_attention_heads": "decoder.heads",
    "rope_parameters": "decoder.rope_base",
    "logits_scaling": "decoder.logits_scale",
    "tie_word_embeddings": "the model core",
}


def _checked(config: DecoderConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``decoder.extra``, if each of its keys is a field of the architecture's own configuration."""
    described: type[PretrainedConfig] = CONFIG_MAPPING[config.architecture]
    known = {field.name for field in fields(described)} - {field.name for field in fields(PretrainedConfig)}
    for key in config.extra:
        if key in _OURS:
            raise ConfigError(f"decoder.extra.{key}", f"is set by {_OURS[key]}; leave it out")
        if key not in known:
            allowed = ", ".join(sorted(known - set(_OURS)))
            raise ConfigError(f"decoder.extra.{key}", f"is not a setting of {config.architecture}; known are {allowed}")
    return dict(config.extra)
