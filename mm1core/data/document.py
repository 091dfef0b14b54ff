"""A document: text and pictures in order, as a source gives them, before any tokenizer sees them."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

PAD, BOS, END, IMAGE = "<pad>", "<bos>", "<end>", "<image>"
"""Special tokens of every tokenizer, in this order: ids 0 to 3. ``<end>`` closes an answer read from files."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A stretch of text. ``weight`` is the loss weight of its tokens as targets; 0 for text that is only read."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The words a question asks for; they weigh ``data.answer_weight`` in the loss."""

    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image as stored: (height, width, 3) uint8. It is brought to ``image.resolution`` when it is put into a row."""

    pixels: np.ndarray


Part = Text | Answer | Picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """One training document. ``<bos>`` is put before it by the tokenizing step, not by the source."""

    name: str
    """Names the sample in errors, such as ``captions row 12 slot 3`` or ``captions 00000.tar:000123``."""
    parts: tuple[Part, ...]


class Source(Protocol):
    """Where the documents of one name in the data mix come from: the world, or files."""

    def document(self, *, seed: int, row: int, slot: int) -> Document:
        """The document at ``slot`` of the packed row with global index ``row``: a pure function of its arguments."""
        ...
