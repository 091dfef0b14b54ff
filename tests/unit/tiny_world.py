"""A small world for tests, and an oracle that looks at pixels alone and knows nothing of how they were drawn."""

import colorsys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm1core.config import WorldConfig
from mm1core.data.document import Answer, Part, Picture, Text
from mm1core.stages import WorldStage
from mm1core.world import build

HUES = {"red": (345, 375), "yellow": (40, 65), "green": (100, 150), "cyan": (170, 200), "blue": (210, 245)} | {
    "purple": (265, 300)
}
"""Degrees on the colour circle that go by each name."""
HOLES = {"0": 2, "1": 0, "2": 0, "3": 0, "4": 1, "5": 0, "6": 1, "7": 0, "8": 2, "9": 1}
"""White regions closed in by a digit; the zero has a stroke through it."""


def tiny(**changes) -> WorldConfig:
    return WorldConfig(**({"train_scenes": 200, "evaluation_scenes": 90} | changes))


def build_world(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    build.run(WorldStage(world=tiny(**changes)), inputs={}, work=folder, stop=lambda: None)
    return folder


def text_of(parts: Iterable[Part]) -> str:
    """The words of parts without pictures."""
    return " ".join(part.text for part in parts if isinstance(part, Text | Answer))


def sentences(parts: Iterable[Part]) -> list[list[str]]:
    """The words of each sentence, without its full stop."""
    found = text_of(parts).split(" . ")
    return [sentence.removesuffix(" .").split() for sentence in found]


def pictures(parts: Iterable[Part]) -> list[np.ndarray]:
    return [part.pixels for part in parts if isinstance(part, Picture)]


def stated_per_picture(parts: Sequence[Part]) -> list[tuple[np.ndarray, list[str]]]:
    """Each picture of an interleaved document with the words of the one sentence after it."""
    pairs: list[tuple[np.ndarray, list[str]]] = []
    words: list[Part] = []
    shown: np.ndarray | None = None
    for part in [*parts, None]:
        if part is None or isinstance(part, Picture):
            if shown is not None:
                [sentence] = sentences(words)
                pairs.append((shown, sentence))
            shown, words = (None if part is None else part.pixels), []
        else:
            words.append(part)
    return pairs


@dataclass(frozen=True)
class Seen:
    """What the oracle sees in an image."""

    things: Counter[tuple[str, str]]
    """(shape, English colour) with how often."""
    plate: np.ndarray
    """The plate's own pixels, (cell, cell) bool: ink."""


def look(image: np.ndarray) -> Seen:
    """The things and the plate, by flood filling what differs from the background."""
    cell = len(image) // 3
    greys = image[(image == image[..., :1]).all(-1)][:, 0]
    background = np.bincount(greys)[1:255].argmax() + 1  # the commonest grey that is neither ink nor plate
    things: Counter[tuple[str, str]] = Counter()
    plate = None
    for top in range(0, 3 * cell, cell):
        for left in range(0, 3 * cell, cell):
            part = image[top : top + cell, left : left + cell].astype(int)
            if (part == 255).all(-1).any():
                assert plate is None, "two plates"
                plate = (part == 0).all(-1)
                continue
            mask = (part != background).any(-1)
            if mask.any():
                [colour] = np.unique(part[mask], axis=0).tolist()
                things[shape_name(mask), colour_name(colour)] += 1
    assert plate is not None, "no plate"
    return Seen(things, plate)


def colour_name(colour: Sequence[int]) -> str:
    hue = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))[0] * 360
    [name] = [name for name, (low, high) in HUES.items() if low <= hue <= high or low <= hue + 360 <= high]
    return name


def shape_name(mask: np.ndarray) -> str:
    """By how the widths of its rows go, from top to bottom."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    widths = box.sum(1)
    if box.all():
        return "square"
    if widths[0] < widths[-1] and (np.diff(widths) >= 0).all():
        return "triangle"
    if len(set(widths.tolist())) == 2 and (box.sum(0) == widths).all() and widths[0] == widths[1]:
        return "cross"
    return "circle" if box.mean() > 0.65 else "diamond"


def holes(ink: np.ndarray) -> list[tuple[float, float]]:
    """The centre (row, column) of every white region that does not touch the border, in shares of the side."""
    left = {(int(row), int(column)) for row, column in np.argwhere(~ink)}
    centres = []
    while left:
        region, waiting = [], [left.pop()]
        while waiting:
            row, column = waiting.pop()
            region.append((row, column))
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    waiting.append(near)
        spots = np.array(region)
        if spots.min() > 0 and spots.max() < len(ink) - 1:
            centres.append(tuple(((spots.mean(0) + 0.5) / len(ink)).tolist()))
    return centres
