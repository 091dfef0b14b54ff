"""The world stage: images of every split, the configuration and the tokenizer, written to a folder and read back.

Scenes are not kept: they are a pure function of the configuration. Images are, since drawing one takes ten times as
long as reading it. Layout: ``images_<split>.npy`` (N, canvas, canvas, 3) uint8, ``world.json``, ``tokenizer.json``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from mm1core.config import WorldConfig
from mm1core.data.document import BOS, END, IMAGE, PAD
from mm1core.errors import Interrupted
from mm1core.stages import WorldStage
from mm1core.storage import write_atomically
from mm1core.world.describe import vocabulary
from mm1core.world.render import canvas, render
from mm1core.world.scene import SPLITS, Split, scene, size


def run(stage: WorldStage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]) -> dict[str, Any]:
    """Build the world below ``work``; files of an earlier attempt are written again."""
    world = stage.world
    digests = {}
    for split in SPLITS:
        reason = stop()
        if reason is not None:
            raise Interrupted(reason)
        images = _images(world, split)
        write_atomically(work / f"images_{split}.npy", partial(np.save, arr=images))
        digests[split] = sha256(images.tobytes()).hexdigest()[:12]
    tokenizer = word_tokenizer(world)
    write_atomically(work / "tokenizer.json", lambda file: file.write(tokenizer.to_str(pretty=True).encode()))
    description = json.dumps(asdict(world), indent=1, sort_keys=True) + "\n"
    write_atomically(work / "world.json", lambda file: file.write(description.encode()))
    return {
        "scenes": {split: size(world, split) for split in SPLITS},
        "images_sha256": digests,
        "vocabulary": tokenizer.get_vocab_size(),
    }


def read_world(folder: Path) -> WorldConfig:
    """The configuration of the world built in ``folder``."""
    return WorldConfig(**json.loads((folder / "world.json").read_text(encoding="utf-8")))


def read_images(folder: Path, split: Split) -> np.ndarray:
    """(N, canvas, canvas, 3) uint8, mapped into memory."""
    mapped = np.load(folder / f"images_{split}.npy", mmap_mode="r")
    return np.asarray(mapped)  # still mapped, but taking an image out of a plain array is three times as fast


def word_tokenizer(world: WorldConfig) -> Tokenizer:
    """A tokenizer of whole words separated by white space; an unknown word is an error, not a token."""
    special = (PAD, BOS, END, IMAGE)
    words = {word: number for number, word in enumerate((*special, *vocabulary(world)))}
    tokenizer = Tokenizer(models.WordLevel(vocab=words, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _images(world: WorldConfig, split: Split) -> np.ndarray:
    images = np.empty((size(world, split), canvas(world), canvas(world), 3), np.uint8)
    for index in range(len(images)):
        images[index] = render(world, scene(world, split, index))
    return images
