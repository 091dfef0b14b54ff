"""Documents: pure, about the picture they show, in one dialect where they should be, and in the shares configured."""

from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare
from tiny_world import build_world, look, pictures, sentences, stated_per_picture, text_of, tiny

from mm1core.config import SOURCE_NAMES
from mm1core.data.document import Picture, Text
from mm1core.world.build import read_images
from mm1core.world.describe import COLOURS, COUNTS, DIGITS, PLACES
from mm1core.world.documents import WorldSource, open_sources
from mm1core.world.scene import SHAPES, scene

WORLD = tiny()
DIALECT = {word: dialect for table in (COLOURS, DIGITS) for dialect, words in enumerate(table) for word in words}
ENGLISH = {word: english for words in COLOURS for english, word in zip(COLOURS[0], words, strict=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def images(folder):
    return read_images(folder, "train")


@pytest.fixture(scope="module")
def scenes(images):
    """By the bytes of their image."""
    return {image.tobytes(): scene(WORLD, "train", index) for index, image in enumerate(images)}


def documents(name, images, count, **changes):
    source = WorldSource(name, tiny(**changes), images)
    return [source.document(seed=0, row=number // 4, slot=number % 4) for number in range(count)]


def told(document):
    """A document as something that can be compared."""
    return document.name, [part.pixels.tobytes() if isinstance(part, Picture) else part for part in document.parts]


def dialects(words):
    return {DIALECT[word] for word in words if word in DIALECT}


def is_true(words, shown):
    """Whether a statement holds of a scene, whatever its dialect."""
    match words:
        case ["the", "is", shape, colour]:
            return colours_of(shape, shown) == [ENGLISH[colour]]
        case ["sign", "shows", digit]:
            return digit == DIGITS[DIALECT[digit]][shown.digit]
        case ["count", "is", count]:
            return COUNTS.index(count) + 1 == len(shown.things)
    raise AssertionError(f"no statement: {words}")


def colours_of(shape, shown):
    return [COLOURS[0][thing.colour] for thing in shown.things if SHAPES[thing.shape] == shape]


@pytest.mark.parametrize("name", SOURCE_NAMES)
def test_a_document_is_a_function_of_seed_row_and_slot(name, folder):
    places = [(seed, row, slot) for seed in (0, 1) for row in (0, 1, 10**9) for slot in range(3)]
    one, other = open_sources(folder)[name], open_sources(folder)[name]
    first = {place: told(one.document(seed=place[0], row=place[1], slot=place[2])) for place in places}
    again = {place: told(other.document(seed=place[0], row=place[1], slot=place[2])) for place in reversed(places)}
    assert first == again
    assert len({str(parts) for _, parts in first.values()}) >= len(places) - 1  # two captions may be alike by chance


def test_sources_draw_apart(images):
    """On one stream of draws, two sources would always speak the same dialect in the same place."""
    pairs = Counter()
    for one, other in zip(documents("interleaved", images, 900), documents("text", images, 900), strict=True):
        pairs.update(product(*(dialects(text_of(document.parts).split()) for document in (one, other))))
    assert len(pairs) == 9
    assert chisquare(list(pairs.values())).pvalue > 1e-4


@pytest.mark.parametrize("name", ["captions", "synthetic_captions", "interleaved"])
def test_every_picture_is_a_training_scene_and_all_come_up(name, images, scenes):
    seen = Counter(
        pixels.tobytes() for document in documents(name, images, 1500) for pixels in pictures(document.parts)
    )
    assert seen.keys() == scenes.keys()


def test_what_a_caption_lists_is_in_its_picture(images):
    for document in documents("synthetic_captions", images, 200):
        [image] = pictures(document.parts)
        assert isinstance(document.parts[0], Picture)
        [listed] = [words[1:] for words in sentences(document.parts) if words[0] == "see"]
        phrases = [phrase.split() for phrase in " ".join(listed).split(" , ")]
        assert Counter((shape, ENGLISH[colour]) for shape, colour in phrases) == look(image).things


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_alt_text_takes_its_share_of_captions_and_none_of_synthetic_captions(share, images):
    for name, expected in (("captions", share), ("synthetic_captions", 0.0)):
        noisy = sum(
            "see" not in text_of(document.parts).split() for document in documents(name, images, 1200, alt_text=share)
        )
        assert noisy / 1200 == pytest.approx(expected, abs=0.05 if 0 < expected < 1 else 0)


def test_interleaved_documents_show_two_to_ten_pictures_with_one_statement_after_each(images):
    found = documents("interleaved", images, 1500)
    counts = Counter(len(pictures(document.parts)) for document in found)
    assert set(counts) == set(range(2, 11))
    assert chisquare(list(counts.values())).pvalue > 1e-4
    for document in found:
        assert isinstance(document.parts[0], Picture)
        assert len(stated_per_picture(document.parts)) == len(pictures(document.parts))


@pytest.mark.parametrize("name", ["interleaved", "text"])
def test_one_dialect_throughout_and_each_as_often(name, images):
    spoken = Counter()
    for document in documents(name, images, 1500):
        found = dialects(text_of(document.parts).split())
        assert len(found) <= 1  # none where only counts or facts came up
        spoken.update(found)
    assert chisquare([spoken[number] for number in range(3)]).pvalue > 1e-4


def test_with_nothing_off_image_every_statement_is_true_of_the_picture_before_it(images, scenes):
    for document in documents("interleaved", images, 200, off_image=0.0):
        for image, words in stated_per_picture(document.parts):
            assert is_true(words, scenes[image.tobytes()])


def test_off_image_statements_are_about_the_picture_before_or_about_none(images, scenes):
    kinds = Counter()
    for document in documents("interleaved", images, 600, off_image=1.0):
        previous = None
        for image, words in stated_per_picture(document.parts):
            if words[0] == "say":
                assert words[1] in ENGLISH
                kinds["say", previous is None] += 1
            else:
                assert is_true(words, previous)
                kinds["previous", previous is None] += 1
            previous = scenes[image.tobytes()]
    assert kinds["previous", True] == 0  # the first picture has none before it
    assert chisquare([kinds["say", False], kinds["previous", False]]).pvalue > 1e-4


def test_the_share_of_statements_off_the_image(images, scenes):
    """Counted by those about no image: half of the share, and all of it after a first picture."""
    said = Counter()
    for document in documents("interleaved", images, 1500):
        for number, (_, words) in enumerate(stated_per_picture(document.parts)):
            said[number == 0, words[0] == "say"] += 1
    assert said[True, True] / (said[True, True] + said[True, False]) == pytest.approx(0.2, abs=0.05)
    assert said[False, True] / (said[False, True] + said[False, False]) == pytest.approx(0.1, abs=0.03)


def test_a_text_is_six_sentences_three_quarters_of_them_facts(images):
    facts = 0
    for document in documents("text", images, 1000):
        found = sentences(document.parts)
        assert len(found) == 6
        assert not pictures(document.parts)
        for words in found:
            assert (words[-1] in PLACES) != (words[0] == "say")
            facts += words[-1] in PLACES
    assert facts / 6000 == pytest.approx(0.75, abs=0.03)


def test_single_words_in_texts_are_colours_and_digits(images):
    said = {
        words[1]
        for document in documents("text", images, 1500)
        for words in sentences(document.parts)
        if words[0] == "say"
    }
    assert said == set(DIALECT)


def test_the_facts_told_do_not_depend_on_the_seed_of_a_trial(images):
    source = WorldSource("text", WORLD, images)
    places = {}
    for seed in range(3):
        for row in range(300):
            for words in sentences(source.document(seed=seed, row=row, slot=0).parts):
                if words[-1] in PLACES:
                    assert places.setdefault(tuple(words[:-1]), words[-1]) == words[-1]
    assert len(places) == 3 * 2 * WORLD.fact_names


@pytest.mark.parametrize("number", [1, 2])
def test_a_world_of_fewer_dialects_speaks_only_those(number, images):
    for name in SOURCE_NAMES:
        words = {
            word
            for document in documents(name, images, 300, dialects=number, alt_text=0.5)
            for word in text_of(document.parts).split()
        }
        assert dialects(words) == set(range(number))


def test_plain_words_weigh_one(images):
    for name in SOURCE_NAMES:
        for document in documents(name, images, 50, alt_text=0.5):
            assert {part.weight for part in document.parts if isinstance(part, Text)} == {1.0}


def test_another_world_tells_other_documents_of_the_same_pictures(images):
    one, other = (WorldSource("text", replace(WORLD, seed=seed), images) for seed in (0, 1))
    assert told(one.document(seed=0, row=0, slot=0)) != told(other.document(seed=0, row=0, slot=0))


def test_pictures_are_views_of_the_file(images):
    [image] = pictures(documents("captions", images, 1)[0].parts)
    assert np.shares_memory(image, images)
