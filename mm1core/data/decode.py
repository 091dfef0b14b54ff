"""Members of a sample as pixels and text, or the reason why they are unusable. Nothing here trusts its input."""

import json
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

_FORMATS = ("JPEG", "PNG", "WEBP")
"""Recognised by content, not by name. Others are refused: some of Pillow's readers start other programs."""


class BrokenSample(Exception):
    """A sample that cannot be used. ``reason`` is its class in counts, ``detail`` is what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def decode_image(data: bytes, *, max_pixels: int) -> np.ndarray:
    """(height, width, 3) uint8, as stored (an EXIF orientation is not applied), transparency over white.

    The size is checked in the header, before any pixel is decoded.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise BrokenSample("too many pixels", f"{image.width}x{image.height}, max_pixels={max_pixels}")
            return np.asarray(_opaque(image))
    except BrokenSample:
        raise
    except Image.DecompressionBombError as error:
        raise BrokenSample("too many pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise BrokenSample("undecodable image", f"none of {', '.join(_FORMATS)}") from error
    except Exception as error:  # on hostile bytes the decoders raise nearly any exception
        raise BrokenSample("undecodable image", f"{type(error).__name__}: {error}"[:200]) from error


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # convert() would clip 16 bits to 255 instead of scaling them.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image.convert("RGB")


def decode_text(data: bytes, *, missing: str) -> str:
    """UTF-8 text without surrounding white space; ``missing`` is the reason if nothing is left."""
    try:
        return _present(data.decode("utf-8-sig"), missing=missing)
    except UnicodeDecodeError as error:
        raise BrokenSample("invalid UTF-8", str(error)) from error


def decode_json(data: bytes) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BrokenSample("invalid UTF-8", str(error)) from error
    except (ValueError, RecursionError) as error:
        raise BrokenSample("invalid JSON", str(error)[:200]) from error
    if not isinstance(value, dict):
        raise BrokenSample("invalid JSON", f"an object is needed, not {type(value).__name__}")
    return value


def text_field(value: dict[str, Any], *fields: str, missing: str) -> str:
    """The first of ``fields`` that is present; ``missing`` is the reason if none is, or if it holds no text."""
    for field in fields:
        if value.get(field) is not None:
            if not isinstance(value[field], str):
                raise BrokenSample(missing, f"the field {field!r} is {type(value[field]).__name__}, not text")
            return _present(value[field], missing=missing)
    raise BrokenSample(missing, f"no field {' or '.join(map(repr, fields))} among {sorted(value)[:8]}")


def _present(text: str, *, missing: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON may spell half a surrogate pair, which is no text
        raise BrokenSample("invalid UTF-8", str(error)) from error
    if not text.strip():
        raise BrokenSample(missing, "it is empty")
    return text.strip()
