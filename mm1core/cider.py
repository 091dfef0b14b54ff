"""CIDEr-D, the captioning score: how much a caption shares with its references that few other images share.

The definition of Vedantam et al. (2015) in the form of the public scorer pycocoevalcap 1.2: n-grams of 1 to 4 words,
tf-idf over the evaluated images, clipped cosine, a Gaussian penalty on the difference in length, times 10. Document
frequencies come from the references given, so a score belongs to its set of items: the CIDEr-D of 500 images is not
comparable with that of 1,000, and of a single image it is 0.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt

import numpy as np

from mm1core.errors import DataError

TOKENIZER = "ptb-lite-1"
"""Names the tokenizer below beside every score: the Penn Treebank rules that matter for captions (lower case, clitics
split off, hyphenated words and numbers whole, punctuation dropped). Unlike Stanford's it drops brackets instead of
naming them (-lrb-) and splits abbreviations with full stops (U.S.) and apostrophes inside names (d'Ivoire)."""

_PUNCTUATION = frozenset([".", "?", "!", ",", ":", ";", "-", "--", "...", "'", '"', "`", "(", ")", "[", "]", "{", "}"])
_TOKEN = re.compile(
    r"""\d+(?:[.,:/]\d+)+(?!\w)                # 1,000  3.5  10:30
      | \w+?(?=n't(?!\w))                      # do|n't
      | n't(?!\w) | '(?:s|m|d|re|ve|ll)(?!\w)  # clitics
      | \w+(?:[-/]\w+)*                        # words, hyphenated ones whole
      | \.\.\. | -- | [^\w\s]                  # punctuation and symbols
    """,
    re.VERBOSE,
)
_ORDERS = 4
_SIGMA = 6.0

_Gram = tuple[str, ...]


def tokenize(text: str) -> list[str]:
    """The words of a caption as the score counts them."""
    return [token for token in _TOKEN.findall(text.lower().replace("’", "'")) if token not in _PUNCTUATION]


def cider_d(predictions: Sequence[str], references: Sequence[tuple[str, ...]]) -> np.ndarray:
    """CIDEr-D of each prediction against its references, float64 of shape (items,), each in 0 to 10.

    The corpus score is the mean. Raises ``DataError`` where the lengths differ or an item has no reference.
    """
    if len(predictions) != len(references):
        raise DataError(f"cider_d: {len(predictions)} predictions for {len(references)} items; give one for each")
    corpus = _corpus(tuple(references))
    scores = np.zeros(len(predictions))
    for number, (prediction, vectors) in enumerate(zip(predictions, corpus.vectors, strict=True)):
        candidate = _vector(_grams(prediction), corpus)
        scores[number] = 10.0 * sum(_similarity(candidate, vector) for vector in vectors) / len(vectors)
    return scores


@dataclass(frozen=True, kw_only=True, eq=False)
class _Vector:
    weights: dict[_Gram, float]
    norms: list[float]
    """Euclidean norm per order."""
    length: int
    """Number of bigrams, as in the reference implementation: one less than the number of words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Corpus:
    log_items: float
    frequency: dict[_Gram, int]
    """Number of items in whose references an n-gram occurs."""
    vectors: list[list[_Vector]]


@lru_cache(maxsize=4)  # the same items are scored once per number of shots
def _corpus(references: tuple[tuple[str, ...], ...]) -> _Corpus:
    grams = [[_grams(text) for text in texts] for texts in references]
    for number, texts in enumerate(grams):
        if not texts:
            raise DataError(f"cider_d: item {number} has no reference caption; every item needs at least one")
    frequency = Counter(gram for texts in grams for gram in set().union(*texts))
    corpus = _Corpus(log_items=log(max(1, len(references))), frequency=frequency, vectors=[])
    corpus.vectors.extend([_vector(text, corpus) for text in texts] for texts in grams)
    return corpus


def _grams(text: str) -> Counter[_Gram]:
    words = tokenize(text)
    return Counter(
        tuple(words[start : start + order])
        for order in range(1, _ORDERS + 1)
        for start in range(len(words) - order + 1)
    )


def _vector(grams: Counter[_Gram], corpus: _Corpus) -> _Vector:
    weights: dict[_Gram, float] = {}
    squares = [0.0] * _ORDERS
    length = 0
    for gram, count in grams.items():
        weight = count * (corpus.log_items - log(max(1, corpus.frequency.get(gram, 0))))
        weights[gram] = weight
        squares[len(gram) - 1] += weight * weight
        length += count if len(gram) == 2 else 0
    return _Vector(weights=weights, norms=[sqrt(square) for square in squares], length=length)


def _similarity(candidate: _Vector, reference: _Vector) -> float:
    """The clipped cosine, averaged over the orders; not symmetric: what the candidate repeats earns nothing."""
    overlaps = [0.0] * _ORDERS
    for gram, weight in candidate.weights.items():
        other = reference.weights.get(gram)
        if other is not None:
            overlaps[len(gram) - 1] += min(weight, other) * other
    total = sum(
        overlap / (mine * theirs)
        for overlap, mine, theirs in zip(overlaps, candidate.norms, reference.norms, strict=True)
        if mine > 0 and theirs > 0
    )
    return exp(-((candidate.length - reference.length) ** 2) / (2 * _SIGMA**2)) * total / _ORDERS
