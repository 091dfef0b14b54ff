"""Greedy decoding through the decoder's key-value cache.

Prompts of equal length are decoded side by side, so no prompt is ever padded, and an answer does not depend on the
prompt's neighbours or on the batch size (up to the rounding of the matrix products, which only decides between words
whose logits are equal to the last digits). A row that has given the stop token leaves the batch.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mm1core.evaluation.pictures import PictureTable
from mm1core.evaluation.prompts import Prompt
from mm1core.model import MultimodalModel

_CPU_TOKENS = 2048
"""Most prompt tokens in a batch on a CPU: with more, activations exceed its caches and prompts take a third longer."""


def generate(
    model: MultimodalModel,
    prompts: Sequence[Prompt],
    pictures: PictureTable,
    *,
    stop_token: int,
    forbidden: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
    between: Callable[[], None],
) -> list[list[int]]:
    """The tokens that follow each prompt, the stop token left out; at most ``max_new_tokens`` with it.

    ``forbidden`` tokens (padding, ``<bos>``, image slots: no part of any answer) are never chosen. ``between`` is
    called before every batch and may raise.
    """
    by_length: dict[int, list[int]] = {}
    for number, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt.tokens), []).append(number)
    answers: list[list[int]] = [[] for _ in prompts]
    for length, numbers in sorted(by_length.items()):
        rows = batch_size if pictures.device.type != "cpu" else max(1, min(batch_size, _CPU_TOKENS // length))
        for start in range(0, len(numbers), rows):
            between()
            batch = numbers[start : start + rows]
            found = _decode(
                model,
                [prompts[number] for number in batch],
                pictures,
                stop_token=stop_token,
                forbidden=forbidden,
                max_new_tokens=max_new_tokens,
            )
            for number, answer in zip(batch, found, strict=True):
                answers[number] = answer
    return answers


@torch.no_grad()
def _decode(
    model: MultimodalModel,
    prompts: Sequence[Prompt],
    pictures: PictureTable,
    *,
    stop_token: int,
    forbidden: Sequence[int],
    max_new_tokens: int,
) -> list[list[int]]:
    """``generate`` for prompts of one length."""
    tokens = torch.from_numpy(np.stack([prompt.tokens for prompt in prompts])).to(pictures.device)
    image_tokens = pictures.tokens([number for prompt in prompts for number in prompt.pictures])
    embedded = model.embed(tokens, image_tokens, [prompt.name for prompt in prompts for _ in prompt.pictures])
    positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
    answers: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=tokens.device)  # which prompt each row of the batch still decodes
    cache = None
    for left in range(max_new_tokens - 1, -1, -1):
        output = model.decoder(
            inputs_embeds=embedded, position_ids=positions, past_key_values=cache, use_cache=left > 0, logits_to_keep=1
        )
        cache = output.past_key_values
        logits = output.logits[:, -1]
        logits[:, list(forbidden)] = -torch.inf
        chosen = logits.argmax(dim=-1)
        going = chosen != stop_token
        for row, token in zip(rows[going].tolist(), chosen[going].tolist(), strict=True):
            answers[row].append(token)
        if left == 0 or not going.any():
            break
        if not going.all():
            rows, chosen = rows[going], chosen[going]
            cache.batch_select_indices(going)
        embedded = model.decoder.get_input_embeddings()(chosen[:, None])
        positions = positions[:, -1:] + 1
    return answers
