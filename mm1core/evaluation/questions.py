"""The first questions of each task in a readable form for reports: the text, and the pictures as PNG."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import IO, Any

from PIL import Image

from mm1core.data.document import Picture, Text
from mm1core.data.task import Item

SHOWN = 3
"""Questions kept of each task."""
_LONGEST_SIDE = 192
"""Longest side of a kept picture in pixels; larger ones are scaled down."""


def write_questions(file: IO[bytes], asked: Mapping[str, Sequence[Item]]) -> None:
    """One JSON line per question: ``{"task", "item", "prompt": [{"text"} or {"png"}]}``. ``asked``: items by task."""
    for task, items in asked.items():
        for item in items[:SHOWN]:
            prompt = [_part(part) for part in item.prompt if isinstance(part, Text | Picture)]
            line = json.dumps({"task": task, "item": item.id, "prompt": prompt}, ensure_ascii=False)
            file.write(line.encode() + b"\n")


def _part(part: Text | Picture) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    image = Image.fromarray(part.pixels)
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    content = io.BytesIO()
    image.save(content, "PNG")
    return {"png": base64.b64encode(content.getvalue()).decode()}
