"""Images reach the encoder's size as Pillow would bring them there."""

import numpy as np
import pytest
from PIL import Image

from mm1core.config import ImageConfig
from mm1core.data.pixels import prepare


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 255, (height, width, 3), dtype=np.uint8)


def by_pillow(pixels: np.ndarray, *sizes: tuple[int, Image.Resampling]) -> np.ndarray:
    shown = Image.fromarray(pixels)
    for side, method in sizes:
        shown = shown.resize((side, side), method)
    return np.asarray(shown).transpose(2, 0, 1)


def test_the_right_size_is_left_alone() -> None:
    pixels = image(48, 48)
    prepared = prepare(pixels, ImageConfig(resolution=48))
    assert prepared.shape == (3, 48, 48)
    assert prepared.dtype == np.uint8
    assert prepared.flags["C_CONTIGUOUS"]
    assert np.array_equal(prepared, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize(("side", "method"), [(24, Image.Resampling.BOX), (64, Image.Resampling.BICUBIC)])
def test_shrinking_averages_and_growing_is_bicubic(side: int, method: Image.Resampling) -> None:
    pixels = image(48, 48)
    assert np.array_equal(prepare(pixels, ImageConfig(resolution=side)), by_pillow(pixels, (side, method)))


@pytest.mark.parametrize("acuity", [16, 24, 30, 48])
def test_acuity_loses_detail_and_keeps_the_size(acuity: int) -> None:
    pixels = image(48, 48)
    expected = by_pillow(pixels, (acuity, Image.Resampling.BOX), (48, Image.Resampling.NEAREST))
    assert np.array_equal(prepare(pixels, ImageConfig(resolution=48, acuity=acuity)), expected)


def test_acuity_of_an_image_that_has_less_detail() -> None:
    pixels = image(8, 8)
    expected = by_pillow(pixels, (16, Image.Resampling.BICUBIC), (48, Image.Resampling.NEAREST))
    assert np.array_equal(prepare(pixels, ImageConfig(resolution=48, acuity=16)), expected)


@pytest.mark.parametrize(("height", "width", "top", "left"), [(48, 70, 0, 11), (61, 48, 6, 0)])
def test_other_shapes_are_cropped_at_the_centre(height: int, width: int, top: int, left: int) -> None:
    pixels = image(height, width)
    expected = pixels[top : top + 48, left : left + 48].transpose(2, 0, 1)
    assert np.array_equal(prepare(pixels, ImageConfig(resolution=48)), expected)


def test_a_read_only_view_will_do() -> None:
    pixels = image(64, 96)[:, ::-1]
    pixels.flags.writeable = False
    assert prepare(pixels, ImageConfig(resolution=48)).shape == (3, 48, 48)
