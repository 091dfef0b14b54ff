"""Words: dialects apart and balanced, statements that are true, captions that do not teach copying, held-out facts."""

from collections import Counter

import pytest
from scipy.stats import chi2_contingency, chisquare
from tiny_world import sentences, text_of, tiny

from mm1core.data.document import Answer, Text
from mm1core.world import describe
from mm1core.world.describe import COLOURS, COUNTS, DIGITS, FACT_FORMS, PLACES
from mm1core.world.draws import Draws
from mm1core.world.scene import SHAPES, scene

WORLD = tiny()
DIALECT = {word: dialect for table in (COLOURS, DIGITS) for dialect, words in enumerate(table) for word in words}
SCENES = [scene(WORLD, "train", index) for index in range(3000)]


def dialects(words):
    return {DIALECT[word] for word in words if word in DIALECT}


def captions():
    """Scene, list words, statement words, and whether the list comes first."""
    for index, shown in enumerate(SCENES):
        found = sentences(describe.detailed_caption(WORLD, shown, Draws(11, index)))
        assert len(found) == 2
        first = found[0][0] == "see"
        listed, stated = found if first else found[::-1]
        assert listed[0] == "see"
        yield shown, listed[1:], stated, first


def test_no_word_means_two_things():
    words = [word for table in (COLOURS, DIGITS) for dialect in table for word in dialect]
    words += [*SHAPES, *COUNTS, *PLACES, *describe.NOISE, *describe.names(150)]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_vocabulary_is_about_as_large_as_planned_and_has_only_the_dialects_spoken(number):
    words = describe.vocabulary(tiny(dialects=number))
    assert len(set(words)) == len(words)
    assert all(word.split() == [word] for word in words)
    assert dialects(words) == set(range(number))
    if number == 3:
        assert 150 <= len(words) <= 175


def test_a_statement_is_true_and_asks_before_it_answers():
    kinds = Counter()
    for index, shown in enumerate(SCENES):
        parts = describe.statement(shown, index % 3, Draws(3, index), describe.IN_CAPTIONS)
        assert [type(part) for part in parts] == [Text, Answer, Text]
        assert parts[2].text == "."
        words = text_of(parts).split()
        kinds[words[0]] += 1
        match words[:-1]:
            case ["the", "is", shape, colour]:
                [thing] = [thing for thing in shown.things if SHAPES[thing.shape] == shape]  # unique in the scene
                assert colour == COLOURS[index % 3][thing.colour]
            case ["sign", "shows", digit]:
                assert digit == DIGITS[index % 3][shown.digit]
            case ["count", "is", count]:
                assert count == ("single", "double", "triple", "quadruple")[len(shown.things) - 1]
            case other:
                pytest.fail(f"no statement: {other}")
    assert set(kinds) == {"the", "sign", "count"}
    assert min(kinds.values()) > 0.1 * len(SCENES)


def test_a_list_names_every_thing_once_with_its_own_colour():
    for shown, listed, _, _ in captions():
        pairs = [phrase.split() for phrase in " ".join(listed).split(" , ")]
        [dialect] = dialects(listed)
        assert sorted(map(tuple, pairs)) == sorted(
            (SHAPES[thing.shape], COLOURS[dialect][thing.colour]) for thing in shown.things
        )


def test_a_list_is_in_random_order():
    firsts = Counter()
    for index, shown in enumerate(SCENES):
        if len(shown.things) == 3 and len(shown.unique) == 3:
            words = text_of(describe.object_list(shown, 0, Draws(5, index))).split()
            firsts[[SHAPES[thing.shape] for thing in shown.things].index(words[1])] += 1
    assert sum(firsts.values()) > 150
    assert chisquare([firsts[number] for number in range(3)]).pvalue > 1e-4


def test_the_statement_of_a_caption_has_a_dialect_of_its_own():
    """List and statement in one dialect would let captions alone teach to copy it."""
    table = [[0] * 3 for _ in range(3)]
    for _, listed, stated, _ in captions():
        [mine] = dialects(listed)
        if stated[0] != "count":
            [theirs] = dialects(stated)
            table[mine][theirs] += 1
        else:
            assert dialects(stated) == set()
    assert chisquare([sum(row) for row in table]).pvalue > 1e-4
    assert chisquare([sum(column) for column in zip(*table, strict=True)]).pvalue > 1e-4
    assert chi2_contingency(table).pvalue > 1e-4


def test_list_and_statement_come_in_either_order():
    firsts = Counter(first for *_, first in captions())
    assert chisquare([firsts[True], firsts[False]]).pvalue > 1e-4


def test_all_that_is_to_be_learnt_from_the_picture_is_an_answer():
    for index, shown in enumerate(SCENES[:200]):
        parts = describe.detailed_caption(WORLD, shown, Draws(11, index))
        plain = " ".join(part.text for part in parts if isinstance(part, Text)).split()
        assert not dialects(plain)
        assert not set(plain) & set(COUNTS)
        answers = {part.text for part in parts if isinstance(part, Answer)}
        assert all(len(answer.split()) == 1 for answer in answers)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_alt_text_names_one_thing_and_is_wrong_as_often_as_said(share):
    world = tiny(wrong_colour=share)
    wrong = 0
    for index, shown in enumerate(SCENES):
        first, noise = sentences(describe.alt_text(world, shown, Draws(2, index)))
        shape, colour = first
        assert len(noise) == 6
        assert set(noise) <= set(describe.NOISE)
        named = COLOURS[DIALECT[colour]].index(colour)
        of_this_shape = {thing.colour for thing in shown.things if SHAPES[thing.shape] == shape}
        assert of_this_shape
        if len(shown.things) == 1:
            wrong += named not in of_this_shape
    singles = sum(len(shown.things) == 1 for shown in SCENES)
    assert wrong / singles == pytest.approx(share, abs=0.05)


def test_say_names_digits_only_where_asked_to():
    colours = {text_of(describe.say(1, Draws(index), digits=False)).split()[1] for index in range(300)}
    both = {text_of(describe.say(1, Draws(index), digits=True)).split()[1] for index in range(600)}
    assert colours == set(COLOURS[1])
    assert both == {*COLOURS[1], *DIGITS[1]}


def every_fact(world):
    return [(name, relation) for name in range(world.fact_names) for relation in range(len(FACT_FORMS))]


def test_a_fact_is_told_in_other_paraphrases_than_those_it_is_asked_in():
    draws = Draws(4)
    told = {text_of(describe.fact(WORLD, draws)) for _ in range(20_000)}
    for name, relation in every_fact(WORLD):
        forms, place = describe.fact_forms(WORLD, name, relation), describe.fact_place(WORLD, name, relation)
        assert len(set(forms)) == 5
        held_out = {forms[describe.VALIDATION_FORM], forms[describe.TEST_FORM]}
        assert len(held_out) == 2
        for form in forms:
            assert (f"{form} {place} ." in told) == (form not in held_out)
    assert len(told) == 3 * len(every_fact(WORLD))  # nothing else is told: no fact has two places


def test_every_paraphrase_is_told_of_some_name():
    """Otherwise its words would be met for the first time in the question."""
    for relation, templates in enumerate(FACT_FORMS):
        for template in templates:
            told = [
                name
                for name in range(WORLD.fact_names)
                if template.format(describe.names(WORLD.fact_names)[name])
                in describe.fact_forms(WORLD, name, relation)[describe.TEST_FORM + 1 :]
            ]
            assert 0 < len(told) < WORLD.fact_names


def test_facts_belong_to_the_world():
    places = [describe.fact_place(WORLD, *fact) for fact in every_fact(WORLD)]
    others = [describe.fact_place(tiny(seed=1), *fact) for fact in every_fact(WORLD)]
    assert places != others
    assert set(places) == set(PLACES)
    assert Counter(places).most_common(1)[0][1] < 0.25 * len(places)  # answering one place for all is no way out
