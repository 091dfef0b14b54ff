"""Greedy decoding: the cached, batched road gives what the slow, plain one gives."""

import numpy as np
import pytest
import torch
from tiny_evaluation import WORDS, ShadeTask, model, picture, tokenizer

from mm1core.data.text import BOS_ID, IMAGE_ID, PAD_ID
from mm1core.evaluation.generate import generate
from mm1core.evaluation.pictures import PictureTable
from mm1core.evaluation.prompts import PromptBuilder
from mm1core.evaluation.shots import demonstrations

FORBIDDEN = (PAD_ID, BOS_ID, IMAGE_ID)
ITEMS = 24
NEW_TOKENS = 6
NO_TOKEN = len(WORDS)


@pytest.fixture(scope="module")
def network():
    return model().eval()


@pytest.fixture(scope="module")
def asked(network):
    """The pictures and the prompts, those of 0, 2 and 5 shots one after the other."""
    pictures = PictureTable(network)
    builder = PromptBuilder(tokenizer=tokenizer(), pictures=pictures, num_image_tokens=4, seed=0)
    built = [builder.build(ShadeTask(), item, shots=(0, 2, 5)) for item in ShadeTask().items(ITEMS)]
    return pictures, [prompts[number] for number in range(3) for prompts in built]


@torch.no_grad()
def naive(network, pictures, prompt, stop_token):
    """One prompt alone, every step a full forward pass over all tokens."""
    answer = []
    while len(answer) < NEW_TOKENS:
        tokens = torch.tensor([[*prompt.tokens.tolist(), *answer]])
        embedded = network.embed(tokens, pictures.tokens(prompt.pictures), [prompt.name] * len(prompt.pictures))
        logits = network.decoder(inputs_embeds=embedded, use_cache=False).logits[0, -1]
        best = max((float(logit), -token) for token, logit in enumerate(logits) if token not in FORBIDDEN)
        if -best[1] == stop_token:
            break
        answer.append(-best[1])
    return answer


def run(network, asked, *, stop_token=NO_TOKEN, batch_size=64, between=lambda: None, max_new_tokens=NEW_TOKENS):
    pictures, prompts = asked
    return generate(
        network,
        prompts,
        pictures,
        stop_token=stop_token,
        forbidden=FORBIDDEN,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        between=between,
    )


@pytest.fixture(scope="module")
def plain(network, asked):
    """The plain road's answers when no token stops it."""
    pictures, prompts = asked
    answers = [naive(network, pictures, prompt, stop_token=NO_TOKEN) for prompt in prompts]
    assert len({tuple(answer) for answer in answers}) > 5, "the fixture's answers are too alike to tell anything"
    return answers


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_cached_batches_give_what_full_passes_give(network, asked, plain, batch_size):
    assert run(network, asked, batch_size=batch_size) == plain


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_an_answer_ends_before_the_stop_token_and_its_neighbours_go_on(network, asked, plain, batch_size):
    everywhere = [token for answer in plain for token in answer]
    stop_token = max(set(everywhere), key=everywhere.count)
    expected = [answer[: answer.index(stop_token)] if stop_token in answer else answer for answer in plain]
    assert len({len(answer) for answer in expected}) > 2
    assert run(network, asked, stop_token=stop_token, batch_size=batch_size) == expected


def test_no_more_tokens_than_asked_for(network, asked, plain):
    assert run(network, asked, max_new_tokens=1) == [answer[:1] for answer in plain]
    assert run(network, asked, max_new_tokens=4) == [answer[:4] for answer in plain]


def test_decoding_can_be_stopped_between_batches(network, asked):
    class Stop(Exception):
        pass

    calls = []

    def between():
        calls.append(1)
        if len(calls) == 3:
            raise Stop

    with pytest.raises(Stop):
        run(network, asked, batch_size=8, between=between)


def test_each_picture_is_encoded_once_and_stands_where_it_is_shown(network):
    encoded = []
    table = PictureTable(network)
    handle = network.encoder.register_forward_hook(lambda module, args, output: encoded.append(len(output)))
    shown = [5, 9, 5, 130, 9, *range(70), 5]
    numbers = [table.number(picture(number).pixels.copy()) for number in shown]
    tokens = table.tokens(numbers)
    more = [table.number(picture(number).pixels) for number in (200, 5)]
    table.tokens(more)
    handle.remove()
    assert sum(encoded) == len({*shown, 200})
    images = torch.from_numpy(np.stack([picture(number).pixels.transpose(2, 0, 1) for number in shown]))
    with torch.no_grad():
        torch.testing.assert_close(tokens, network.encode_images(images), rtol=1e-5, atol=1e-6)


def test_pictures_of_equal_bytes_and_another_shape_are_other_pictures(network):
    table = PictureTable(network)
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    assert table.number(pixels) != table.number(pixels.reshape(4, 16, 3))


def test_a_prompt_is_bos_demonstrations_question():
    network, words = model().eval(), tokenizer()
    pictures = PictureTable(network)
    task = ShadeTask()
    item = task.items(1)[0]
    zero, two = PromptBuilder(tokenizer=words, pictures=pictures, num_image_tokens=4, seed=3).build(
        task, item, shots=(0, 2)
    )
    image = "<image> " * 4
    assert words.decode(zero.tokens.tolist(), skip_special_tokens=False) == f"<bos> {image}square is"
    shown = demonstrations(task, item, shots=2, seed=3)
    solved = "".join(f"{image}the square is {parts[2].text} . " for parts in shown)
    assert words.decode(two.tokens.tolist(), skip_special_tokens=False) == f"<bos> {solved}{image}square is"
    expected = [parts[0].pixels for parts in shown] + [item.prompt[0].pixels]
    assert list(two.pictures) == [pictures.number(pixels) for pixels in expected]
