"""CIDEr-D against the public scorer's numbers and against a second, literal implementation of the formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm1core.cider import cider_d, tokenize
from mm1core.errors import DataError


def naive(predictions, references):
    """Per n-gram and per pair, straight from the definition; no shared code with the implementation."""
    items = range(len(predictions))

    def ngrams(text, n):
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    def idf(gram, n):
        seen = sum(any(gram in ngrams(text, n) for text in references[i]) for i in items)
        return math.log(len(predictions)) - math.log(max(1, seen))

    scores = []
    for i in items:
        total = 0.0
        for text in references[i]:
            for n in (1, 2, 3, 4):
                mine, theirs = ngrams(predictions[i], n), ngrams(text, n)
                space = sorted(set(mine) | set(theirs))
                h = np.array([mine.count(gram) * idf(gram, n) for gram in space])
                r = np.array([theirs.count(gram) * idf(gram, n) for gram in space])
                norm = np.linalg.norm(h) * np.linalg.norm(r)
                difference = len(ngrams(predictions[i], 2)) - len(ngrams(text, 2))
                if norm > 0:
                    total += float(np.minimum(h, r) @ r / norm) * math.exp(-(difference**2) / 72) / 4
        scores.append(10 * total / len(references[i]))
    return np.array(scores)


def test_gives_the_public_scorers_numbers():
    # pycocoevalcap 1.2 on these captions: 3.31228739, 4.36637945, mean 3.839333420395637
    scores = cider_d(
        ["a man on a horse", "a red bus"],
        [("a man riding a horse", "a person on a horse"), ("a red bus", "a bus on street")],
    )
    np.testing.assert_allclose(scores, [3.31228739, 4.36637945], rtol=1e-8)
    assert scores.mean() == pytest.approx(3.839333420395637, rel=1e-12)


words = st.lists(st.sampled_from(["red", "blue", "a", "bus", "horse", "on"]), max_size=8).map(" ".join)
corpora = st.lists(st.tuples(words, st.lists(words, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=5)


@settings(max_examples=150)
@given(corpora)
def test_equals_the_formula_written_out(corpus):
    predictions, references = [pair[0] for pair in corpus], [pair[1] for pair in corpus]
    np.testing.assert_allclose(cider_d(predictions, references), naive(predictions, references), rtol=1e-9, atol=1e-12)


def test_one_image_scores_zero_because_nothing_is_rare():
    assert cider_d(["a red bus"], [("a red bus",)]).tolist() == [0.0]


def test_no_items_give_no_scores():
    assert cider_d([], []).shape == (0,)


def test_case_and_punctuation_do_not_count():
    references = [("a red bus",), ("two dogs",)]
    plain = cider_d(["a red bus", "two dogs"], references)
    np.testing.assert_array_equal(cider_d(["A red, bus.", "two -- dogs!"], references), plain)
    assert plain.max() > 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A man's hat, isn't it?", ["a", "man", "'s", "hat", "is", "n't", "it"]),
        ("a well-known 3.5 m pole", ["a", "well-known", "3.5", "m", "pole"]),
        ("woman’s hat", ["woman", "'s", "hat"]),
        ("circle red , square blue .", ["circle", "red", "square", "blue"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_penn_treebank(text, expected):
    assert tokenize(text) == expected


def test_wrong_input_is_refused():
    with pytest.raises(DataError):
        cider_d(["a"], [])
    with pytest.raises(DataError):
        cider_d(["a"], [()])
