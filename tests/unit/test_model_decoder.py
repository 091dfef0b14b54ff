"""Every architecture we take packs exactly, decodes through its cache, and has its logits scaled exactly once."""

import pytest
import torch

from mm1core.config import ARCHITECTURES, DecoderConfig
from mm1core.decoder import build_decoder, packing_mask, word_embeddings
from mm1core.errors import ConfigError

VOCABULARY = 23
LENGTHS = [7, 1, 9, 4]  # of the documents of one row, before its padding
PADDING = 5


def build(architecture: str, **settings):
    torch.manual_seed(0)
    config = DecoderConfig(architecture=architecture, **({"width": 16, "layers": 2, "heads": 2} | settings))
    return build_decoder(config, VOCABULARY).eval()


def packed(lengths: list[int], padding: int = PADDING):
    documents = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)] + [torch.full((padding,), -1)])
    positions = torch.cat([torch.arange(n) for n in lengths] + [torch.zeros(padding, dtype=torch.long)])
    return documents[None], positions[None]


def logits_of(decoder, embedded, documents, positions):
    mask = packing_mask(documents, embedded.dtype)
    return decoder(inputs_embeds=embedded, attention_mask=mask, position_ids=positions, use_cache=False).logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_documents_give_the_logits_each_has_alone(architecture):
    decoder = build(architecture)
    documents, positions = packed(LENGTHS)
    embedded = torch.randn(1, documents.shape[1], 16)
    together = logits_of(decoder, embedded, documents, positions)
    assert together.isfinite().all()
    start = 0
    for length in LENGTHS:
        alone = decoder(inputs_embeds=embedded[:, start : start + length], use_cache=False).logits
        torch.testing.assert_close(together[:, start : start + length], alone, rtol=0, atol=1e-5)
        start += length


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_changing_one_document_leaves_the_others_bitwise_unchanged(architecture):
    decoder = build(architecture)
    documents, positions = packed(LENGTHS)
    embedded = torch.randn(1, documents.shape[1], 16)
    changed = torch.where(documents[..., None] == 2, torch.randn_like(embedded), embedded)
    before, after = (logits_of(decoder, x, documents, positions) for x in (embedded, changed))
    other = documents[0] != 2
    assert torch.equal(before[:, other], after[:, other])
    assert not torch.equal(before[:, ~other], after[:, ~other])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_later_tokens_of_a_document_do_not_reach_earlier_ones(architecture):
    decoder = build(architecture)
    documents, positions = packed([12], padding=0)
    embedded = torch.randn(1, 12, 16)
    changed = embedded.clone()
    changed[:, 6:] = torch.randn(1, 6, 16)
    before, after = (logits_of(decoder, x, documents, positions) for x in (embedded, changed))
    assert torch.equal(before[:, :6], after[:, :6])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scale", [0.125, 1.0])
def test_logits_are_scaled_exactly_once(architecture, scale):
    decoder = build(architecture, logits_scale=scale)
    embedded = torch.randn(2, 5, 16)
    hidden = decoder.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    expected = scale * hidden @ word_embeddings(decoder).weight.T
    torch.testing.assert_close(decoder(inputs_embeds=embedded, use_cache=False).logits, expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_decoding_through_the_cache_equals_the_full_forward(architecture):
    decoder = build(architecture)
    embedded = torch.randn(3, 11, 16)
    with torch.no_grad():
        full = decoder(inputs_embeds=embedded, use_cache=False).logits
        output = decoder(inputs_embeds=embedded[:, :6], position_ids=torch.arange(6)[None], use_cache=True)
        steps = [output.logits]
        for place in range(6, 11):
            output = decoder(
                inputs_embeds=embedded[:, place : place + 1],
                position_ids=torch.tensor([[place]]),
                past_key_values=output.past_key_values,
                use_cache=True,
            )
            steps.append(output.logits)
    torch.testing.assert_close(torch.cat(steps, 1), full, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_words_are_one_table_with_its_own_start_and_no_matrix_has_a_scale_of_its_own(architecture):
    decoder = build(architecture, width=64, embedding_std=0.5, residual_scale=0.3)
    table = word_embeddings(decoder).weight
    assert decoder.get_output_embeddings().weight is table
    assert table.std().item() == pytest.approx(0.5, rel=0.1)
    residual = 0
    for name, weight in decoder.base_model.named_parameters():
        if weight.ndim == 2 and weight is not table:
            writes = name.split(".")[-2] in ("o_proj", "down_proj", "c_proj")
            residual += writes
            expected = (0.3 if writes else 1.0) / weight.shape[1] ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=0.1), name
        elif weight.ndim == 1:
            assert torch.equal(weight, torch.full_like(weight, 0.0 if name.endswith("bias") else 1.0)), name
    assert residual == 4  # two in each layer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_are_divided_by_the_root_of_the_head_width(architecture):
    decoder = build(architecture, width=32, heads=2)
    assert decoder.base_model.layers[0].self_attn.scaling == pytest.approx(16**-0.5)


def test_feed_forward_layers_have_about_equal_parameters_gated_or_not():
    sizes = {
        architecture: sum(
            weight.numel()
            for name, weight in build(architecture, width=64).named_parameters()
            if ".mlp." in name and weight.ndim == 2
        )
        for architecture in ARCHITECTURES
    }
    assert max(sizes.values()) < 1.03 * min(sizes.values()), sizes


def test_an_unknown_architecture_names_those_there_are():
    with pytest.raises(ConfigError, match=r"decoder.architecture.*starcoder2"):
        DecoderConfig(architecture="graphite")


@pytest.mark.parametrize(
    ("extra", "key"),
    [({"hidden_sise": 3}, "hidden_sise"), ({"hidden_size": 3}, "hidden_size"), ({"rms_norm_eps": "much"}, "extra")],
)
def test_a_wrong_extra_setting_names_what_is_allowed(extra, key):
    with pytest.raises(ConfigError, match=key):
        build("llama", extra=extra)


def test_an_extra_setting_reaches_the_architecture():
    assert build("llama", heads=4, extra={"num_key_value_heads": 2}).config.num_key_value_heads == 2
