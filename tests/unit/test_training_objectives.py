"""CLIP and AIM against formulae written another way; AIM must not see what it predicts."""

from math import log

import pytest
import tiny_training as tiny
import torch
from transformers import CLIPConfig, CLIPModel

from mm1core.config import EncoderConfig
from mm1core.encoder import ImageEncoder
from mm1core.objectives.aim import Aim, pixel_targets
from mm1core.objectives.clip import Clip, contrastive
from mm1core.objectives.pretrain_encoder import prefix_lengths

PATCHES = 16


def encoder(**settings) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(tiny.IMAGE, EncoderConfig(**({"width": 16, "layers": 2, "heads": 2} | settings)))


def images(number: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def patch(k: int) -> tuple[slice, slice]:
    return slice(4 * (k // 4), 4 * (k // 4) + 4), slice(4 * (k % 4), 4 * (k % 4) + 4)


def aim() -> Aim:
    return Aim(encoder(), width=16, head_layers=2)


@pytest.mark.parametrize("prefix", [1, 5, 15])
def test_aim_predicts_a_patch_without_seeing_it_or_what_follows(prefix):
    model, pixels = aim(), images(1)
    before = model.predict(pixels, torch.tensor([prefix]))
    for k in range(prefix, PATCHES):
        other = pixels.clone()
        for later in range(k, PATCHES):
            rows, columns = patch(later)
            other[:, :, rows, columns] = 255 - other[:, :, rows, columns]
        after = model.predict(other, torch.tensor([prefix]))
        assert torch.equal(after[:, k - 1], before[:, k - 1]), k
        assert not torch.equal(after[:, k:], before[:, k:])


@pytest.mark.parametrize("prefix", [4, 9])
def test_aim_predictions_use_every_patch_before_theirs_and_the_whole_prefix(prefix):
    # the leak test alone would pass for a model that sees nothing
    model, pixels = aim(), images(1)
    before = model.predict(pixels, torch.tensor([prefix]))
    for changed in range(PATCHES):
        other = pixels.clone()
        rows, columns = patch(changed)
        other[:, :, rows, columns] = 255 - other[:, :, rows, columns]
        after = model.predict(other, torch.tensor([prefix]))
        for k in range(1, PATCHES):
            assert torch.equal(after[:, k - 1], before[:, k - 1]) is not (changed < k or changed < prefix)


def test_aim_loss_equals_a_loop_over_patches_and_pixels():
    model = aim().double()
    pixels, prefix = images(), torch.tensor([1, 7, 15])
    predicted = model.predict(pixels, prefix)
    total, count = 0.0, 0
    for number in range(3):
        for k in range(max(int(prefix[number]), 1), PATCHES):
            rows, columns = patch(k)
            values = [
                float(pixels[number, c, row, column]) / 127.5 - 1
                for row in range(rows.start, rows.stop)
                for column in range(columns.start, columns.stop)
                for c in range(3)
            ]
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            wanted = [(value - mean) / (variance + 1e-6) ** 0.5 for value in values]
            found = predicted[number, k - 1].tolist()
            total += sum((a - b) ** 2 for a, b in zip(found, wanted, strict=True)) / len(values)
            count += 1
    assert float(model(pixels, prefix).detach()) == pytest.approx(total / count, rel=1e-9)


def test_flat_patches_are_targets_of_zero():
    assert torch.equal(
        pixel_targets(torch.full((1, 3, 8, 8), 40, dtype=torch.uint8), 4, torch.float32), torch.zeros(1, 4, 48)
    )


def test_aim_trains_every_parameter():
    model = aim()
    model(images(), torch.tensor([1, 2, 3])).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_prefix_lengths_are_uniform_from_one_to_all_but_one_and_pure():
    drawn = torch.cat([prefix_lengths(0, step, count=100, patches=5) for step in range(100)])
    counts = torch.bincount(drawn)
    assert counts[0] == 0
    assert len(counts) == 5
    assert (counts[1:] / 10_000).tolist() == pytest.approx([0.25] * 4, abs=0.02)
    assert torch.equal(prefix_lengths(3, 7, count=9, patches=16), prefix_lengths(3, 7, count=9, patches=16))
    assert not torch.equal(prefix_lengths(3, 7, count=9, patches=16), prefix_lengths(3, 8, count=9, patches=16))
    assert not torch.equal(prefix_lengths(3, 7, count=9, patches=16), prefix_lengths(4, 7, count=9, patches=16))


def test_contrastive_loss_is_that_of_transformers_clip():
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    theirs = CLIPModel(
        CLIPConfig(
            text_config={**small, "vocab_size": 30, "max_position_embeddings": 8, "eos_token_id": 29},
            vision_config={**small, "image_size": 16, "patch_size": 4},
            projection_dim=12,
            logit_scale_init_value=log(1 / 0.07),
        )
    ).eval()
    tokens = torch.randint(3, 28, (5, 8))
    tokens[:, -1] = 29
    found = theirs(input_ids=tokens, pixel_values=torch.randn(5, 3, 16, 16), return_loss=True)
    image, text = (feature * torch.rand(5, 1) * 9 for feature in (found.image_embeds, found.text_embeds))  # any norm
    loss, logits = contrastive(image, text, theirs.logit_scale)
    torch.testing.assert_close(loss, found.loss)
    torch.testing.assert_close(logits, found.logits_per_image)


def clip() -> Clip:
    torch.manual_seed(0)
    return Clip(encoder(), width=16, heads=2, layers=1, vocabulary_size=20, length=10)


def test_clip_starts_at_the_published_temperature_and_never_passes_its_limit():
    model = clip()
    assert model.log_scale.item() == pytest.approx(log(1 / 0.07))
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    model(images(2), torch.ones(2, 3, dtype=torch.long), torch.tensor([3, 2]))
    assert model.log_scale.item() == pytest.approx(log(100))
    assert model.log_scale.requires_grad


def test_clip_does_not_depend_on_padding():
    model = clip()
    tokens = torch.randint(4, 20, (4, 6))
    lengths = torch.tensor([6, 3, 1, 4])
    longer = torch.cat([tokens, torch.randint(0, 20, (4, 3))], 1)
    for row, length in enumerate(lengths):
        longer[row, length:] = 7
    for found, expected in zip(model(images(4), longer, lengths), model(images(4), tokens, lengths), strict=True):
        torch.testing.assert_close(found, expected)


def test_clip_accuracy_counts_images_that_find_their_own_caption():
    features = torch.eye(4)
    _, logits = contrastive(features, features[[0, 1, 3, 2]], torch.tensor(1.0))
    assert (logits.argmax(1) == torch.arange(4)).tolist() == [True, True, False, False]


def test_clip_trains_every_parameter():
    model = clip()
    loss, _ = model(images(4), torch.randint(4, 20, (4, 10)), torch.tensor([10, 5, 2, 1]))
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
