"""Documents read from indexed files, as the sources of a data mix.

The sample at a position is a pure function of (seed, row, slot), drawn at random from the train split, with
replacement. So the data order needs no state, and equal positions of different arms hold equal samples.
"""

from hashlib import blake2b
from pathlib import Path

from mm1core.data.document import END, Document, Part, Picture, Text
from mm1core.data.index import Index

_MOST_PAIRS = 8
"""Interleaved documents hold 2 to this many pairs of picture and caption."""


class FileSource:
    """One source of the data mix, read from the index of its files.

    ``text``: the text of a line. ``captions`` and ``synthetic_captions``: a picture, its caption, ``END``.
    ``interleaved``: several such pairs in one document, as a few-shot prompt has them; the files hold pairs only, so
    the pairs of a document have nothing else in common.
    """

    def __init__(self, name: str, folder: Path) -> None:
        """``folder`` is the work folder of the source's ``corpus`` stage; ``DataError`` if its train split is empty."""
        self._name = name
        self._index = Index(folder, name)
        self._train = self._index.numbers("train")

    def document(self, *, seed: int, row: int, slot: int) -> Document:
        """The document at ``slot`` of row ``row``."""
        if self._name == "text":
            number = self._draw(f"{seed}/{row}/{slot}/0")
            return Document(name=self._index.name(number), parts=(Text(text=self._index.text(number)),))
        pairs = 1
        if self._name == "interleaved":
            pairs = 2 + _below(_MOST_PAIRS - 1, f"{seed}/{row}/{slot}/pairs")
        numbers = [self._draw(f"{seed}/{row}/{slot}/{pair}") for pair in range(pairs)]
        return Document(
            name=self._index.name(numbers[0]) + (f" and {pairs - 1} more" if pairs > 1 else ""),
            parts=tuple(part for number in numbers for part in captioned(self._index, number)),
        )

    def _draw(self, place: str) -> int:
        return int(self._train[_below(len(self._train), place)])


def captioned(index: Index, number: int) -> tuple[Part, ...]:
    """A picture, its caption, and the end of the caption."""
    return Picture(pixels=index.image(number)), Text(text=index.text(number)), Text(text=END)


def _below(bound: int, place: str) -> int:
    """A pseudo-random number below ``bound``, always the same for ``place``."""
    return int.from_bytes(blake2b(place.encode(), digest_size=8).digest(), "big") * bound >> 64
