"""Captioning of held-out pictures of file sources: what is shown, and how a caption is scored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mm1core.cider import cider_d
from mm1core.data.document import END, Part, Picture
from mm1core.data.files import captioned
from mm1core.data.index import Index
from mm1core.data.task import Item
from mm1core.errors import DataError

_SOURCES = ("captions", "synthetic_captions", "interleaved")
"""Sources that can be asked about, if there are several: the first of these is."""


class FileCaptioning:
    """The captioning task over one split. Items are in pseudo-random order, so a prefix is a fair sample."""

    name = "captioning"
    stop = END
    max_new_tokens = 256
    """A caption ends by itself or at ``evaluation.max_new_tokens``, which is smaller."""
    primary = "exact"
    shots = True

    def __init__(self, source: str, folder: Path, split: str) -> None:
        """``folder`` is the work folder of the ``corpus`` stage; ``DataError`` if the split holds no sample."""
        self._index = Index(folder, source)
        self._split = split
        self._held_out = self._index.ranked(split)
        self._train = self._index.numbers("train")

    @classmethod
    def over(cls, sources: Mapping[str, Path], split: str) -> "FileCaptioning":
        """The task over the first source that has pictures; ``DataError`` if none has."""
        for name in _SOURCES:
            if name in sources:
                return cls(name, sources[name], split)
        raise DataError(f"captioning needs one of the sources {', '.join(_SOURCES)}; there is {', '.join(sources)}")

    def items(self, count: int) -> Sequence[Item]:
        return [
            Item(
                id=f"{self._split}/captioning/{place}/{self._index.key(int(number))}",
                prompt=(Picture(pixels=self._index.image(int(number))),),
                references=(self._index.text(int(number)),),
            )
            for place, number in enumerate(self._held_out[:count])
        ]

    @property
    def pool(self) -> int:
        return len(self._train)

    def demonstration(self, item: Item, candidate: int) -> tuple[Part, ...] | None:
        return captioned(self._index, int(self._train[candidate]))

    def score(self, items: Sequence[Item], predictions: Sequence[str]) -> Mapping[str, np.ndarray]:
        """``exact`` (equal but for white space), ``f1`` (of the bags of words, lower case), ``cider_d`` (0 to 10).

        With several references the best counts for ``exact`` and ``f1``.
        """
        pairs = list(zip(items, predictions, strict=True))
        return {
            "exact": np.array(
                [float(any(said.split() == right.split() for right in item.references)) for item, said in pairs]
            ),
            "f1": np.array([max(word_f1(said, right) for right in item.references) for item, said in pairs]),
            "cider_d": cider_d([said for _, said in pairs], [item.references for item, _ in pairs]),
        }


def word_f1(said: str, right: str) -> float:
    """Harmonic mean of precision and recall of the words, each counted as often as it occurs in both."""
    said_words, right_words = Counter(said.lower().split()), Counter(right.lower().split())
    shared = (said_words & right_words).total()
    return 2 * shared / (said_words.total() + right_words.total()) if shared else 0.0
