"""The documents of the world's four sources, each a pure function of (seed, row, slot).

``captions`` and ``synthetic_captions`` teach zero-shot answers, ``interleaved`` teaches the use of context, ``text``
teaches facts. The share ``world.alt_text`` of ``captions`` is noisy alt-text.
"""

from pathlib import Path

import numpy as np

from mm1core.config import SOURCE_NAMES, WorldConfig
from mm1core.data.document import Document, Part, Picture, Source
from mm1core.world.build import read_images, read_world
from mm1core.world.describe import IN_DOCUMENTS, alt_text, detailed_caption, fact, say, statement
from mm1core.world.draws import Draws
from mm1core.world.scene import Scene, scene

_MOST_IMAGES = 10
_SENTENCES = 6
_FACTS = 0.75
"""Share of facts among the sentences of a text."""


class WorldSource:
    """One source over the training scenes. ``images`` (N, canvas, canvas, 3) uint8 may be a memory map."""

    def __init__(self, name: str, world: WorldConfig, images: np.ndarray) -> None:
        self._name = name
        self._number = SOURCE_NAMES.index(name)
        self._world = world
        self._images = images
        self._scenes: dict[int, Scene] = {}

    def document(self, *, seed: int, row: int, slot: int) -> Document:
        """See ``mm1core.data.document.Source``."""
        draws = Draws(self._world.seed, 104, self._number, seed, row, slot)
        match self._name:
            case "captions" if draws.share() < self._world.alt_text:
                parts = self._caption(draws, detailed=False)
            case "captions" | "synthetic_captions":
                parts = self._caption(draws, detailed=True)
            case "interleaved":
                parts = self._interleaved(draws)
            case _:
                parts = self._text(draws)
        return Document(name=f"{self._name} row {row} slot {slot}", parts=parts)

    def _caption(self, draws: Draws, *, detailed: bool) -> tuple[Part, ...]:
        index = draws.below(len(self._images))
        caption = detailed_caption if detailed else alt_text
        return (self._picture(index), *caption(self._world, self._scene(index), draws))

    def _interleaved(self, draws: Draws) -> tuple[Part, ...]:
        """Two to ten pictures, one statement after each, one dialect throughout.

        A share ``world.off_image`` of the statements is not about the picture before it: half of those are about the
        picture before that one, half name a random colour.
        """
        dialect = draws.below(self._world.dialects)
        parts: list[Part] = []
        before: Scene | None = None
        for _ in range(2 + draws.below(_MOST_IMAGES - 1)):
            index = draws.below(len(self._images))
            shown = self._scene(index)
            parts.append(self._picture(index))
            if draws.share() >= self._world.off_image:
                parts += statement(shown, dialect, draws, IN_DOCUMENTS)
            elif before is not None and draws.below(2):
                parts += statement(before, dialect, draws, IN_DOCUMENTS)
            else:
                parts += say(dialect, draws, digits=False)
            before = shown
        return tuple(parts)

    def _text(self, draws: Draws) -> tuple[Part, ...]:
        dialect = draws.below(self._world.dialects)
        parts: list[Part] = []
        for _ in range(_SENTENCES):
            known = draws.share() < _FACTS
            parts += fact(self._world, draws) if known else say(dialect, draws, digits=True)
        return tuple(parts)

    def _picture(self, index: int) -> Picture:
        return Picture(pixels=self._images[index])

    def _scene(self, index: int) -> Scene:
        known = self._scenes.get(index)
        if known is None:
            known = self._scenes[index] = scene(self._world, "train", index)
        return known


def open_sources(folder: Path) -> dict[str, Source]:
    """The four sources of the world built in ``folder``."""
    world, images = read_world(folder), read_images(folder, "train")
    return {name: WorldSource(name, world, images) for name in SOURCE_NAMES}
