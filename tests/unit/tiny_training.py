"""Small real pieces for the tests of the model and of training: a tokenizer, sources of documents, batches."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from mm1core.config import (
    ConnectorConfig,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    ImageConfig,
    OptimisationConfig,
    TrainingConfig,
)
from mm1core.data.document import Answer, Document, Picture, Text
from mm1core.data.rows import Batch, RowStream, stack
from mm1core.data.text import SPECIAL_TOKENS
from mm1core.model import ModelConfig, MultimodalModel
from mm1core.open import Data
from mm1core.ranks import ALONE, Ranks
from mm1core.stages import PretrainStage
from mm1core.train import Pretraining

WORDS = [*SPECIAL_TOKENS, "a", "dark", "light", "square", "is", "say", ".", *(f"n{number}" for number in range(9))]
IMAGE = ImageConfig(resolution=16, patch_size=4)
ENCODER = EncoderConfig(objective="none", width=16, layers=2, heads=2)
CONNECTOR = ConnectorConfig(num_tokens=4, heads=2, width=16)
DECODER = DecoderConfig(width=16, layers=2, heads=2)
DATA = DataConfig(mix={"captions": 0.6, "text": 0.4}, row_tokens=40, images_per_row=3)


def tokenizer() -> Tokenizer:
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return words


def model_config(**changes) -> ModelConfig:
    parts = {"image": IMAGE, "encoder": ENCODER, "connector": CONNECTOR, "decoder": DECODER} | changes
    return ModelConfig(**parts, vocabulary_size=len(WORDS))


def model(seed: int = 0, **changes) -> MultimodalModel:
    torch.manual_seed(seed)
    return MultimodalModel(model_config(**changes))


def pixels(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)


class Captions:
    """A picture and how bright it is, once or twice over."""

    def document(self, *, seed: int, row: int, slot: int) -> Document:
        generator = np.random.default_rng([seed, row, slot])
        parts = []
        for _ in range(generator.integers(1, 3)):
            level = int(generator.integers(9))
            shown = np.clip(generator.normal(28 * level, 5, (16, 16, 3)), 0, 255).astype(np.uint8)
            parts += [Picture(pixels=shown), Text(text="a square is"), Answer(text=f"n{level}"), Text(text=".")]
        return Document(name=f"captions row {row} slot {slot}", parts=tuple(parts))


class Sentences:
    """Text alone, of several lengths."""

    def document(self, *, seed: int, row: int, slot: int) -> Document:
        generator = np.random.default_rng([seed, row, slot, 1])
        numbers = " ".join(f"n{number}" for number in generator.integers(0, 9, generator.integers(1, 6)))
        return Document(name=f"text row {row} slot {slot}", parts=(Text(text=f"say {numbers} ."),))


SOURCES = {"captions": Captions(), "text": Sentences()}


def stream(seed: int = 0, *, num_image_tokens: int = CONNECTOR.num_tokens, data: DataConfig = DATA) -> RowStream:
    return RowStream(
        seed=seed,
        mix=data.mix,
        sources=SOURCES,
        tokenizer=tokenizer(),
        data=data,
        image=IMAGE,
        num_image_tokens=num_image_tokens,
    )


def batch(rows: int = 6, seed: int = 0, **changes) -> Batch:
    rows_of = stream(seed, **changes)
    return stack([rows_of.row(index) for index in range(rows)])


def folder_of(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


def pretrain_stage(**changes) -> PretrainStage:
    """A stage over ``inputs``; ``training`` settings may be given by name."""
    names = {field.name for field in fields(TrainingConfig)}
    training = TrainingConfig(
        **(
            {"steps": 6, "rows_per_step": 2, "checkpoint_every": 100, "log_every": 1, "device": "cpu"}
            | {name: changes.pop(name) for name in list(changes) if name in names}
        )
    )
    parts = {
        "image": IMAGE,
        "encoder": ENCODER,
        "connector": CONNECTOR,
        "decoder": DECODER,
        "data": DATA,
        "optimisation": OptimisationConfig(warmup_steps=2),
        "seed": 0,
    }
    return PretrainStage(**(parts | {"training": training} | changes))


def learner(model: MultimodalModel, ranks: Ranks = ALONE, **training) -> Pretraining:
    """What ``train.run`` would train, over the sources above."""
    data = Data(tokenizer=tokenizer(), sources=dict(SOURCES), task=no_task)
    return Pretraining(pretrain_stage(**training), data, model, ranks)


def no_task(name: str, split: str):
    raise AssertionError(f"nothing is asked here: {name} {split}")
