"""A world of one question for the evaluation tests: which shade is this square? Real tokenizer, real model, no data."""

from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from mm1core.config import ConnectorConfig, DecoderConfig, EncoderConfig, ImageConfig
from mm1core.data.document import Answer, Picture, Text
from mm1core.data.task import Item
from mm1core.data.text import SPECIAL_TOKENS
from mm1core.model import ModelConfig, MultimodalModel

SHADES = [f"shade{number}" for number in range(12)]
WORDS = [*SPECIAL_TOKENS, "the", "square", "is", ".", *SHADES]


def tokenizer() -> Tokenizer:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return words


def model(seed: int = 0) -> MultimodalModel:
    torch.manual_seed(seed)
    return MultimodalModel(
        ModelConfig(
            image=ImageConfig(resolution=8, patch_size=4),
            encoder=EncoderConfig(objective="none", width=16, layers=1, heads=2),
            connector=ConnectorConfig(num_tokens=4, heads=2, width=16),
            # large residuals, or a fresh decoder with tied embeddings only repeats the last word
            decoder=DecoderConfig(width=16, layers=2, heads=2, logits_scale=1.0, residual_scale=4.0),
            vocabulary_size=len(WORDS),
        )
    )


def picture(number: int) -> Picture:
    """A square of one shade, with a corner that says which."""
    pixels = np.full((8, 8, 3), 20 * (number % 12), np.uint8)
    pixels[0, 0] = number % 251
    return Picture(pixels=pixels)


@dataclass(frozen=True, kw_only=True)
class ShadeTask:
    """Prompts of several lengths: every third question has another word. Candidates are pictures from 1,000 on."""

    name: str = "shade"
    stop: str = "."
    max_new_tokens: int = 6
    primary: str = "exact"
    shots: bool = True
    pool: int = 40

    def items(self, count: int) -> list[Item]:
        return [
            Item(
                id=f"test/{self.name}/{number}",
                prompt=(picture(number), Text(text="the square is" if number % 3 else "square is")),
                references=(SHADES[number % 12],),
            )
            for number in range(min(count, 50))
        ]

    def demonstration(self, item, candidate):
        if candidate % 5 == 0:
            return None
        number = 1000 + candidate
        return (picture(number), Text(text="the square is"), Answer(text=SHADES[number % 12]), Text(text="."))

    def score(self, items, predictions):
        pairs = list(zip(items, predictions, strict=True))
        return {
            "exact": np.array([prediction in item.references for item, prediction in pairs], np.float32),
            "words": np.array([len(prediction.split()) for _, prediction in pairs], np.float32),
        }
