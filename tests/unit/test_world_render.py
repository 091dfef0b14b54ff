"""Rendering, checked by an oracle that looks at pixels alone."""

from collections import Counter

import numpy as np
import pytest
from tiny_world import HOLES, holes, look, tiny

from mm1core.world.describe import COLOURS
from mm1core.world.render import canvas, render
from mm1core.world.scene import SHAPES, scene


@pytest.mark.parametrize("cell", [16, 24, 32])
def test_the_oracle_sees_what_is_in_the_scene(cell):
    world = tiny(cell=cell)
    for index in range(150):
        shown = scene(world, "train", index)
        image = render(world, shown)
        assert image.shape == (canvas(world), canvas(world), 3) == (3 * cell, 3 * cell, 3)
        assert image.dtype == np.uint8
        assert look(image).things == Counter((SHAPES[thing.shape], COLOURS[0][thing.colour]) for thing in shown.things)


@pytest.mark.parametrize("cell", [8, 9, 15, 16, 24, 32])
def test_digits_have_the_holes_of_digits_and_one_plate_each(cell):
    world = tiny(cell=cell)
    plates = {}
    for index in range(200):
        shown = scene(world, "test", index)
        top, left = shown.plate // 3 * cell, shown.plate % 3 * cell
        ink = (render(world, shown)[top : top + cell, left : left + cell] == 0).all(-1)
        assert np.array_equal(plates.setdefault(shown.digit, ink), ink)
    assert len(plates) == 10
    assert len({ink.tobytes() for ink in plates.values()}) == 10
    for digit, ink in plates.items():
        assert len(holes(ink)) == HOLES[str(digit)]
    assert holes(plates[6])[0][0] > 0.5 > holes(plates[9])[0][0]


def test_a_digit_is_ten_by_fourteen_pixels_with_strokes_of_two():
    world = tiny()
    for index in range(50):
        shown = scene(world, "train", index)
        ink = look(render(world, shown)).plate
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        assert rows[-1] - rows[0] + 1 == 14
        assert columns[-1] - columns[0] + 1 in (6, 10)  # a one is narrower
        strokes = ink[1:15, 3:13]
        assert np.array_equal(strokes, strokes[::2, ::2].repeat(2, 0).repeat(2, 1))


def test_the_jitter_moves_things_between_patches():
    """Patches of 8 px must not line up with cells, or low resolution would make the world easier."""
    world = tiny()
    offsets = {(thing.down, thing.right) for index in range(300) for thing in scene(world, "train", index).things}
    assert len(offsets) == 25
