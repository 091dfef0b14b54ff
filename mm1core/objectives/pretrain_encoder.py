"""The encoder stage: an image encoder is pre-trained alone, before the decoder sees it.

Below ``work``: ``encoder.json`` and ``encoder.safetensors`` when done, ``spool.jsonl`` and ``checkpoints/`` meanwhile.
Pair ``index`` of the data is the first picture of document ``index`` of ``encoder.training.source`` and the text up to
the second picture; like everything random here it is a pure function of the seed and the index.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from mm1core.config import ImageConfig, OptimisationConfig
from mm1core.data.document import Document, Picture, Source
from mm1core.data.pixels import prepare
from mm1core.data.text import PAD_ID, encode
from mm1core.encoder import ImageEncoder
from mm1core.errors import ConfigError, DataError
from mm1core.fit import Stop, fit
from mm1core.model import save_weights
from mm1core.objectives.aim import Aim
from mm1core.objectives.clip import Clip
from mm1core.open import open_data
from mm1core.stages import EncoderStage
from mm1core.storage import write_atomically

_CAPTION_TOKENS = 64
"""Longest caption that CLIP reads; the rest is cut, as in the original (77)."""
_SLOTS = 16
"""Documents without a picture, or without text after it, that are skipped before the source counts as unusable."""


def run(stage: EncoderStage, *, inputs: Mapping[str, Path], work: Path, stop: Stop) -> dict[str, Any]:
    """Pre-train the encoder of ``stage`` by its objective."""
    config, training = stage.encoder, stage.encoder.training
    data = open_data(inputs)
    if training.source not in data.sources:
        raise ConfigError(
            "encoder.training.source",
            f"{training.source!r} is not in the data; it has {', '.join(sorted(data.sources))}",
        )
    torch.manual_seed(stage.seed)
    encoder = ImageEncoder(stage.image, config)
    learner: _ClipLearner | _AimLearner
    pairs = _Pairs(stage, data.sources[training.source], data.tokenizer)
    match config.objective:
        case "clip":
            learner = _ClipLearner(encoder, pairs, stage, data.tokenizer.get_vocab_size())
        case "aim":
            learner = _AimLearner(encoder, pairs, stage)
        case _:
            raise ConfigError("encoder.objective", "'none' has nothing to train; use clip or aim")
    progress = fit(
        learner,
        steps=training.steps,
        optimisation=OptimisationConfig(
            learning_rate=training.learning_rate,
            matrix_learning_rate=training.matrix_learning_rate,
            warmup_steps=training.warmup_steps,
        ),
        training=stage.training,
        work=work,
        stop=stop,
    )
    description = json.dumps({"image": asdict(stage.image), "encoder": asdict(config)}, indent=2, sort_keys=True)
    write_atomically(work / "encoder.json", lambda file: file.write(description.encode()))
    save_weights(encoder, work / "encoder.safetensors")
    return {
        "steps": progress.step,
        "loss": progress.loss(),
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        **progress.counts,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """B pictures with their captions."""

    index: int
    """The step they belong to."""
    images: torch.Tensor
    """(B, 3, H, W) uint8."""
    tokens: torch.Tensor
    """(B, T) int64, padded at the end."""
    lengths: torch.Tensor
    """(B,) int64: tokens of each caption."""

    def to(self, device: torch.device | str) -> "Pairs":
        """The same pairs with their tensors on ``device``."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            tokens=self.tokens.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
        )


class _Pairs(Dataset[Pairs]):
    """The pairs of each step from ``first_step`` to the last."""

    def __init__(self, stage: EncoderStage, source: Source, tokenizer: Tokenizer, first_step: int = 0) -> None:
        self._stage, self._source, self._tokenizer, self._first_step = stage, source, tokenizer, first_step

    def from_step(self, first_step: int) -> "_Pairs":
        return _Pairs(self._stage, self._source, self._tokenizer, first_step)

    def __len__(self) -> int:
        return max(0, self._stage.encoder.training.steps - self._first_step)

    def __getitem__(self, number: int) -> Pairs:
        if not 0 <= number < len(self):
            raise IndexError(number)
        step, size = self._first_step + number, self._stage.encoder.training.batch_size
        pairs = [self._pair(index) for index in range(step * size, (step + 1) * size)]
        lengths = [len(tokens) for _, tokens in pairs]
        tokens = np.full((size, max(lengths)), PAD_ID, np.int64)
        for row, (_, caption) in enumerate(pairs):
            tokens[row, : len(caption)] = caption
        return Pairs(
            index=step,
            images=torch.from_numpy(np.stack([image for image, _ in pairs])),
            tokens=torch.from_numpy(tokens),
            lengths=torch.tensor(lengths),
        )

    def _pair(self, index: int) -> tuple[np.ndarray, list[int]]:
        for slot in range(_SLOTS):
            document = self._source.document(seed=self._stage.seed, row=index, slot=slot)
            found = _first_pair(document, self._tokenizer, self._stage.image)
            if found is not None:
                return found
        raise DataError(
            f"encoder.training.source={self._stage.encoder.training.source!r}: {_SLOTS} documents in a row have no "
            "picture followed by text; use a source of captions"
        )


def _first_pair(document: Document, tokenizer: Tokenizer, image: ImageConfig) -> tuple[np.ndarray, list[int]] | None:
    """The first picture and the tokens of the text between it and the second; ``None`` if either is missing."""
    places = [place for place, part in enumerate(document.parts) if isinstance(part, Picture)]
    if not places:
        return None
    picture = document.parts[places[0]]
    assert isinstance(picture, Picture)
    caption = document.parts[places[0] + 1 : places[1] if len(places) > 1 else None]
    tokens, _, _ = encode(replace(document, parts=caption), tokenizer, num_image_tokens=0, answer_weight=1.0)
    tokens = tokens[1 : 1 + _CAPTION_TOKENS]  # without <bos>
    return (prepare(picture.pixels, image), tokens) if tokens else None


class _EncoderLearner:
    prefix = "encoder"

    def __init__(self, pairs: _Pairs) -> None:
        self._pairs = pairs

    def batches(self, *, first_step: int, workers: int) -> "DataLoader[Pairs]":
        return DataLoader(
            self._pairs.from_step(first_step),
            batch_size=None,
            shuffle=False,
            num_workers=workers,
            generator=torch.Generator(),  # else the loader draws a seed from the global generator
        )

    def counts(self, batch: Pairs) -> Mapping[str, int]:
        return {"images": len(batch.images)}


class _ClipLearner(_EncoderLearner):
    """In-batch contrast needs the whole batch at once, so micro-batches do not apply."""

    def __init__(self, encoder: ImageEncoder, pairs: _Pairs, stage: EncoderStage, vocabulary_size: int) -> None:
        super().__init__(pairs)
        self.module = Clip(
            encoder,
            width=stage.encoder.width,
            heads=stage.encoder.heads,
            layers=stage.encoder.training.text_layers,
            vocabulary_size=vocabulary_size,
            length=_CAPTION_TOKENS,
        )

    def shares(self, batch: Pairs) -> Iterator[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]:
        loss, accuracy = self.module(batch.images, batch.tokens, batch.lengths)
        yield loss, {"accuracy": accuracy}


class _AimLearner(_EncoderLearner):
    def __init__(self, encoder: ImageEncoder, pairs: _Pairs, stage: EncoderStage) -> None:
        super().__init__(pairs)
        self.module = Aim(encoder, width=stage.encoder.width, head_layers=stage.encoder.training.head_layers)
        self._seed, self._patches = stage.seed, stage.image.num_patches

    def shares(self, batch: Pairs) -> Iterator[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]:
        prefix = prefix_lengths(self._seed, batch.index, count=len(batch.images), patches=self._patches)
        yield self.module(batch.images, prefix.to(batch.images.device)), {}


def prefix_lengths(seed: int, step: int, *, count: int, patches: int) -> torch.Tensor:
    """(count,) lengths, uniform in [1, patches - 1]: a pure function of the seed and the step."""
    digest = sha256(f"aim prefix {seed} {step}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randint(1, patches, (count,), generator=generator)
