"""Stored images brought to the size the image encoder sees. Values stay uint8; the model normalises them."""

import numpy as np
from PIL import Image

from mm1core.config import ImageConfig


def prepare(pixels: np.ndarray, image: ImageConfig) -> np.ndarray:
    """(height, width, 3) uint8 to (3, resolution, resolution) uint8.

    An image that is not square is cropped to the square at its centre. With ``image.acuity`` the image is first brought
    to that many pixels and then enlarged by repeating them, so that detail changes and the patch grid does not.
    """
    pixels = _resize(_centre_square(pixels), image.acuity or image.resolution)
    channels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if len(pixels) == image.resolution:
        return channels
    nearest = (2 * np.arange(image.resolution) + 1) * len(pixels) // (2 * image.resolution)
    return channels.take(nearest, axis=1).take(nearest, axis=2)


def _centre_square(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    if height == width:
        return pixels
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _resize(pixels: np.ndarray, side: int) -> np.ndarray:
    """A square image at another size: averaged over areas when it shrinks, bicubic when it grows."""
    if len(pixels) == side:
        return pixels
    method = Image.Resampling.BOX if side < len(pixels) else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((side, side), method))
