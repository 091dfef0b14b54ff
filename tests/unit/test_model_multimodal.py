"""The joined model: images in their places, packing with images, weights on disk."""

from dataclasses import replace

import pytest
import tiny_training as tiny
import torch

from mm1core.config import ConnectorConfig, DecoderConfig, EncoderConfig
from mm1core.data.rows import stack
from mm1core.data.text import IMAGE_ID
from mm1core.encoder import ImageEncoder
from mm1core.errors import DataError
from mm1core.loss import weighted_sum
from mm1core.model import load_model, load_weights, save_model, save_weights


def alone(batch, row: int, number: int, first_image: int):
    """Document ``number`` of ``row`` as a batch of its own, and how many images it has."""
    here = batch.documents[row] == number
    images = int((batch.tokens[row, here] == IMAGE_ID).sum()) // tiny.CONNECTOR.num_tokens
    one = replace(
        batch,
        tokens=batch.tokens[row, here][None],
        weights=batch.weights[row, here][None],
        documents=torch.zeros(1, int(here.sum()), dtype=torch.long),
        positions=torch.arange(int(here.sum()))[None],
        images=batch.images[first_image : first_image + images],
        image_names=batch.image_names[first_image : first_image + images],
    )
    return one, here, images


@pytest.mark.parametrize("kind", ["average_pool", "attention_pool", "c_abstractor"])
def test_a_packed_row_equals_its_documents_alone_in_logits_and_loss(kind):
    model = tiny.model(connector=ConnectorConfig(num_tokens=4, kind=kind, heads=2, width=16))
    batch = tiny.batch(rows=6)
    logits = model(batch)
    total, weight, first_image, documents = 0.0, 0.0, 0, 0
    for row in range(6):
        for number in range(int(batch.documents[row].max()) + 1):
            one, here, images = alone(batch, row, number, first_image)
            found = model(one)
            torch.testing.assert_close(logits[row, here][None], found, rtol=0, atol=1e-5)
            loss, weights = weighted_sum(found, one.tokens, one.weights, one.documents)
            total, weight = total + loss, weight + weights
            first_image, documents = first_image + images, documents + 1
    together = weighted_sum(logits, batch.tokens, batch.weights, batch.documents)
    torch.testing.assert_close(together[0], total, rtol=1e-5, atol=1e-4)
    assert together[1] == weight
    assert documents > 6
    assert first_image == len(batch.images) > 0


def test_an_image_changes_its_own_document_alone():
    model, batch = tiny.model(), tiny.batch(rows=6)
    images = batch.images.clone()
    images[0] = 255 - images[0]
    before, after = model(batch), model(replace(batch, images=images))
    row = int((batch.tokens == IMAGE_ID).any(1).nonzero()[0])
    number = batch.documents[row, batch.tokens[row] == IMAGE_ID][0]
    own = torch.zeros_like(batch.tokens, dtype=torch.bool)
    own[row] = batch.documents[row] == number
    assert torch.equal(before[~own], after[~own])
    assert not torch.equal(before[own], after[own])


def test_image_tokens_stand_at_the_placeholders_in_order_and_words_elsewhere():
    model, batch = tiny.model(), tiny.batch(rows=6)
    image_tokens = model.encode_images(batch.images)
    embedded = model.embed(batch.tokens, image_tokens, batch.image_names)
    slots = batch.tokens == IMAGE_ID
    assert torch.equal(embedded[slots], image_tokens.flatten(0, 1))
    words = model.decoder.get_input_embeddings()(batch.tokens)
    assert torch.equal(embedded[~slots], words[~slots])


@pytest.mark.parametrize("change", ["one too few", "one too many", "a hole", "an image too few", "moved to the next"])
def test_placeholders_that_do_not_fit_the_images_name_the_sample(change):
    model, batch = tiny.model(), tiny.batch(rows=6)
    image_tokens, tokens = model.encode_images(batch.images), batch.tokens.clone()
    rows, columns = (tokens == IMAGE_ID).nonzero(as_tuple=True)
    own = 4 * 2  # the first placeholder of the third image
    word = len(tiny.WORDS) - 1
    match change:
        case "one too few":
            tokens[rows[own + 3], columns[own + 3]] = word
        case "one too many":
            tokens[rows[own + 3], columns[own + 3] + 1] = IMAGE_ID
        case "a hole":
            tokens[rows[own + 1], columns[own + 1]] = word
            tokens[rows[own + 3], columns[own + 3] + 1] = IMAGE_ID
        case "an image too few":
            image_tokens = image_tokens[:-1]
        case "moved to the next":
            tokens[rows[own + 3], columns[own + 3]] = word
            tokens[rows[own + 4], columns[own + 4] - 1] = IMAGE_ID
    # one placeholder too many is noticed where the next image begins
    named = {"one too many": batch.image_names[3], "an image too few": batch.image_names[-1]}
    with pytest.raises(DataError, match="placeholders") as error:
        model.embed(tokens, image_tokens, batch.image_names)
    assert named.get(change, batch.image_names[2]) in str(error.value)


def test_rows_without_images_need_none():
    model = tiny.model()
    rows = [row for row in map(tiny.stream().row, range(12)) if not len(row.images)]
    assert model(stack(rows)).isfinite().all()


def test_saved_and_loaded_models_give_the_same_logits(tmp_path):
    model = tiny.model(connector=ConnectorConfig(num_tokens=4, kind="c_abstractor", width=8)).eval()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path, "cpu")
    assert loaded.config == model.config
    assert torch.equal(loaded(tiny.batch()), model(tiny.batch()))
    assert loaded.decoder.get_output_embeddings().weight is loaded.decoder.get_input_embeddings().weight


def test_weights_of_another_model_are_refused(tmp_path):
    save_weights(ImageEncoder(tiny.IMAGE, EncoderConfig(width=16, layers=1, heads=2)), tmp_path / "encoder.safetensors")
    with pytest.raises(DataError, match=r"blocks\.1"):
        load_weights(tiny.model().encoder, tmp_path / "encoder.safetensors")


def test_changing_one_part_leaves_the_start_of_the_others_alone():
    base = tiny.model()
    other = tiny.model(
        connector=ConnectorConfig(num_tokens=9, kind="attention_pool", heads=2),
        encoder=EncoderConfig(objective="none", width=32, layers=1, heads=2),
    )
    for name, weight in base.decoder.state_dict().items():
        assert torch.equal(weight, other.decoder.state_dict()[name]), name
    deeper = tiny.model(decoder=DecoderConfig(width=16, layers=3, heads=2))
    for part in ("encoder", "connector"):
        for name, weight in getattr(base, part).state_dict().items():
            assert torch.equal(weight, getattr(deeper, part).state_dict()[name]), name


def test_a_frozen_encoder_gets_no_gradient_and_the_rest_does():
    model = tiny.model(encoder=EncoderConfig(objective="none", width=16, layers=2, heads=2, frozen=True))
    model(tiny.batch()).square().mean().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert all(parameter.grad is not None for parameter in model.connector.parameters())


def test_every_parameter_is_used():
    model = tiny.model()
    model(tiny.batch()).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
