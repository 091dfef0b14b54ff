"""Scenes: what there is to see, before it is drawn or described. Pure and seeded."""

from dataclasses import dataclass
from typing import Literal

from mm1core.config import WorldConfig
from mm1core.world.draws import Draws

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

SHAPES = ("square", "circle", "triangle", "cross", "diamond")
NUM_COLOURS = 6
NUM_DIGITS = 10
CELLS = 9
"""Three by three."""

_COUNT_BOUNDS = (0.45, 0.70, 0.85, 1.0)
"""One to four objects in 45, 25, 15 and 15 % of scenes: those with one are the curriculum for those with more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A coloured shape."""

    shape: int
    """Index into ``SHAPES``."""
    colour: int
    cell: int
    """0 to 8, row by row."""
    down: int
    """Offset within the cell in pixels, at most a quarter of its side."""
    right: int
    brightness: float
    """0.8 to 1.1 times the colour's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One to four things and a plate with a digit, no two in the same cell."""

    things: tuple[Thing, ...]
    digit: int
    plate: int
    """The cell of the plate."""
    background: int
    """Grey level, 15 to 60."""

    @property
    def unique(self) -> tuple[Thing, ...]:
        """The things whose shape occurs once: those whose colour can be asked."""
        shapes = [thing.shape for thing in self.things]
        return tuple(thing for thing in self.things if shapes.count(thing.shape) == 1)


def scene(world: WorldConfig, split: Split, index: int) -> Scene:
    """The scene with this index: a pure function of the world's seed, the split and the index."""
    draws = Draws(world.seed, 101, SPLITS.index(split), index)
    share = draws.share()
    count = next(number for number, bound in enumerate(_COUNT_BOUNDS, start=1) if share < bound)
    cells = draws.shuffled(range(CELLS))
    jitter = world.cell // 4 + 1
    things = tuple(
        Thing(
            shape=draws.below(len(SHAPES)),
            colour=draws.below(NUM_COLOURS),
            cell=cells[number],
            down=draws.below(jitter),
            right=draws.below(jitter),
            brightness=0.8 + 0.3 * draws.share(),
        )
        for number in range(count)
    )
    return Scene(things=things, digit=draws.below(NUM_DIGITS), plate=cells[count], background=15 + draws.below(46))


def size(world: WorldConfig, split: Split) -> int:
    """How many scenes a split has."""
    return world.train_scenes if split == "train" else world.evaluation_scenes
