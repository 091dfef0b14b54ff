"""Scenes as pixels: flat shapes on a flat background, and a digit of 2 px strokes on a white plate."""

from functools import lru_cache

import numpy as np

from mm1core.config import WorldConfig
from mm1core.world.scene import SHAPES, Scene

_COLOURS = np.array(
    [(220, 50, 50), (60, 190, 80), (70, 100, 235), (225, 205, 60), (175, 75, 210), (70, 205, 215)], np.float32
)
"""Red, green, blue, yellow, purple, cyan: in the order of the colour words."""

_DIGITS = (
    "01110 10001 10011 10101 11001 10001 01110",
    "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00110 01000 10000 11111",
    "11110 00001 00001 01110 00001 00001 11110",
    "00010 00110 01010 10010 11111 00010 00010",
    "11111 10000 11110 00001 00001 10001 01110",
    "00110 01000 10000 11110 10001 10001 01110",
    "11111 00001 00010 00100 01000 01000 01000",
    "01110 10001 10001 01110 10001 10001 01110",
    "01110 10001 10001 01111 00001 00010 01100",
)
"""Five by seven bits each, row by row."""


def canvas(world: WorldConfig) -> int:
    """Side of an image in pixels."""
    return 3 * world.cell


def render(world: WorldConfig, scene: Scene) -> np.ndarray:
    """(canvas, canvas, 3) uint8."""
    cell = world.cell
    pixels = np.full((canvas(world), canvas(world), 3), scene.background, np.uint8)
    for thing in scene.things:
        mask = _shapes(cell)[thing.shape]
        top, left = thing.cell // 3 * cell + thing.down, thing.cell % 3 * cell + thing.right
        colour = np.minimum(_COLOURS[thing.colour] * thing.brightness, 255).astype(np.uint8)
        pixels[top : top + len(mask), left : left + len(mask)][mask] = colour
    top, left = scene.plate // 3 * cell, scene.plate % 3 * cell
    pixels[top : top + cell, left : left + cell] = _plates(cell)[scene.digit]
    return pixels


@lru_cache(maxsize=4)
def _shapes(cell: int) -> tuple[np.ndarray, ...]:
    """A mask of three quarters of a cell for each shape."""
    side = cell * 3 // 4
    row, column = np.mgrid[0:side, 0:side] + 0.5
    middle = side / 2
    masks = {
        "square": (np.abs(row - middle) < 0.42 * side) & (np.abs(column - middle) < 0.42 * side),
        "circle": (row - middle) ** 2 + (column - middle) ** 2 < (0.49 * side) ** 2,
        "triangle": np.abs(column - middle) < row / 2,
        "cross": (np.abs(row - middle) < 0.17 * side) | (np.abs(column - middle) < 0.17 * side),
        "diamond": np.abs(row - middle) + np.abs(column - middle) < 0.5 * side,
    }
    return tuple(masks[name] for name in SHAPES)


@lru_cache(maxsize=4)
def _plates(cell: int) -> np.ndarray:
    """(10, cell, cell, 3) uint8: each digit in black, as large as fits in whole pixels, centred on white."""
    plates = np.full((len(_DIGITS), cell, cell, 3), 255, np.uint8)
    stroke = cell // 8
    for digit, bits in enumerate(_DIGITS):
        mask = np.array([[bit == "1" for bit in line] for line in bits.split()]).repeat(stroke, 0).repeat(stroke, 1)
        top, left = (cell - mask.shape[0]) // 2, (cell - mask.shape[1]) // 2
        plates[digit, top : top + mask.shape[0], left : left + mask.shape[1]][mask] = 0
    return plates
