"""The image encoder: patches, positions, masks."""

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from mm1core.config import EncoderConfig, ImageConfig
from mm1core.encoder import ImageEncoder, prefix_mask, resize_positions, unfold
from mm1core.transformer import Block

CONFIG = EncoderConfig(objective="none", width=16, layers=2, heads=2)


def build(resolution: int = 24, patch_size: int = 6) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(ImageConfig(resolution=resolution, patch_size=patch_size), CONFIG)


def images(height: int = 24, width: int = 24, number: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, 3, height, width), dtype=torch.uint8, generator=generator)


def test_patches_are_in_raster_order_with_channels_last():
    picture = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = unfold(picture, 2)
    for number in range(2):
        for k in range(6):
            top, left = 2 * (k // 3), 2 * (k % 3)
            expected = [
                int(picture[number, c, top + p, left + q]) for p in range(2) for q in range(2) for c in range(3)
            ]
            assert patches[number, k].tolist() == expected


def test_the_patch_embedding_is_a_strided_convolution():
    encoder = build()
    pixels = torch.rand(3, 3, 24, 24) * 2 - 1
    kernel = encoder.patch.weight.view(16, 6, 6, 3).permute(0, 3, 1, 2)
    expected = F.conv2d(pixels, kernel, stride=6).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder.patch(unfold(pixels, 6)), expected, rtol=1e-4, atol=1e-5)


def test_bytes_are_brought_to_minus_one_to_one():
    encoder = build()
    pixels = images()
    torch.testing.assert_close(encoder(pixels), encoder(pixels.float() / 127.5 - 1))


def test_a_block_equals_pytorchs_own_transformer_layer():
    torch.manual_seed(0)
    block = Block(width=16, heads=2, mlp_ratio=3).double()
    layer = torch.nn.TransformerEncoderLayer(
        16, 2, 48, dropout=0.0, activation=F.gelu, batch_first=True, norm_first=True, bias=False
    ).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(std=0.3)
        block.attention_norm.bias.zero_()
        block.feed_forward_norm.bias.zero_()
        layer.self_attn.in_proj_weight.copy_(block.query_key_value.weight)
        layer.self_attn.out_proj.weight.copy_(block.attention_out.weight)
        layer.linear1.weight.copy_(block.up.weight)
        layer.linear2.weight.copy_(block.down.weight)
        layer.norm1.weight.copy_(block.attention_norm.weight)
        layer.norm2.weight.copy_(block.feed_forward_norm.weight)
    x = torch.randn(3, 7, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x, None), layer(x))
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    torch.testing.assert_close(block(x, causal), layer(x, src_mask=~causal))


@pytest.mark.parametrize("side", [3, 4, 7, 9])
def test_positions_are_resized_as_by_transformers_clip(side):
    theirs = CLIPVisionModel(
        CLIPVisionConfig(
            image_size=16, patch_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
    )
    embeddings = getattr(theirs, "vision_model", theirs).embeddings
    table = embeddings.position_embedding.weight.detach()
    expected = embeddings.interpolate_pos_encoding(torch.zeros(1, side**2 + 1, 8), 4 * side, 4 * side)
    found = resize_positions(table[1:], (4, 4), (side, side))
    torch.testing.assert_close(found, expected[0, 1:].detach())


def test_positions_of_the_same_grid_are_left_alone_and_other_shapes_work():
    table = torch.randn(12, 5)
    assert resize_positions(table, (3, 4), (3, 4)) is table
    assert resize_positions(table, (3, 4), (2, 7)).shape == (14, 5)
    assert not torch.allclose(resize_positions(table, (3, 4), (4, 3)), table)


def test_images_need_not_be_square_nor_of_the_usual_size():
    assert build()(images(12, 30)).shape == (3, 2 * 5, 16)


def test_prefix_mask_is_causal_but_for_a_prefix_everyone_sees():
    mask = prefix_mask(5, torch.tensor([1, 3]))
    assert mask.shape == (2, 1, 5, 5)
    for number, prefix in enumerate([1, 3]):
        for i in range(5):
            for j in range(5):
                assert bool(mask[number, 0, i, j]) == (j <= i or j < prefix)


def test_features_see_the_prefix_and_what_is_before_them_alone():
    encoder, pixels, prefix = build(), images(number=1), 5
    mask = prefix_mask(16, torch.tensor([prefix]))
    before = encoder(pixels, mask)
    for changed in range(16):
        other = pixels.clone()
        top, left = 6 * (changed // 4), 6 * (changed % 4)
        other[:, :, top : top + 6, left : left + 6] = 255 - other[:, :, top : top + 6, left : left + 6]
        after = encoder(other, mask)
        for place in range(16):
            sees = changed <= place or changed < prefix
            assert torch.equal(after[0, place], before[0, place]) is not sees, (changed, place)
    everywhere = encoder(other)
    assert not torch.isclose(everywhere, encoder(pixels)).all(-1).any()
