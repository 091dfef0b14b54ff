"""Tasks: right answers, balanced dialects, demonstrations in the item's dialect, and scores that mean what they say."""

from collections import Counter

import numpy as np
import pytest
from tiny_world import build_world, holes, look, pictures, text_of, tiny

from mm1core.config import TASK_NAMES
from mm1core.data.document import Picture
from mm1core.data.task import Item
from mm1core.errors import DataError
from mm1core.evaluation.shots import demonstrations
from mm1core.open import open_data
from mm1core.world.build import read_images
from mm1core.world.describe import COLOURS, COUNTS, DIGITS, FACT_FORMS, fact_place, names
from mm1core.world.documents import open_sources

SPLITS = ("validation", "test")
PICTURED = ("colour", "digit", "count", "captioning")
DIALECT = {word: dialect for table in (COLOURS, DIGITS) for dialect, words in enumerate(table) for word in words}
ENGLISH = {word: english for words in COLOURS for english, word in zip(COLOURS[0], words, strict=True)}
ENGLISH |= {word: english for words in DIGITS for english, word in zip(DIGITS[0], words, strict=True)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def task(folder):
    data = open_data({"world": folder})
    made = {}
    return lambda name, split="test": made.setdefault((name, split), data.task(name, split))


@pytest.fixture(scope="module")
def plates(folder):
    """The English word of each digit's plate, as training captions call it."""
    known = {}
    source = open_sources(folder)["captions"]
    for row in range(600):
        parts = source.document(seed=0, row=row, slot=0).parts
        words = text_of(parts).split()
        if "shows" in words:
            ink = look(pictures(parts)[0]).plate
            known.setdefault(ink.tobytes(), set()).add(ENGLISH[words[words.index("shows") + 1]])
    return {ink: word for ink, [word] in known.items()}


def right_answer(name, image, question, plates):
    """The English answer, from the pixels."""
    seen = look(image)
    match name:
        case "colour":
            [colour] = [colour for (shape, colour), _ in seen.things.items() if shape == question.split()[-1]]
            return colour
        case "digit":
            return plates[seen.plate.tobytes()]
        case "count":
            return COUNTS[seen.things.total() - 1]


def english(word):
    return ENGLISH.get(word, word)


def dialect_of(item):
    found = {DIALECT[word] for text in item.references for word in text.split() if word in DIALECT}
    assert len(found) <= 1
    return found.pop() if found else None


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["colour", "digit", "count"])
def test_the_answer_is_what_the_pixels_say(name, split, task, plates):
    items = task(name, split).items(90)
    assert len(items) > 80
    for item in items:
        image = item.prompt[0].pixels
        [reference] = item.references
        expected = right_answer(name, image, text_of(item.prompt), plates)
        assert english(reference) == expected
        assert {english(word) for word in item.values} == {expected}
        assert reference in item.values
        assert len(item.values) == (1 if name == "count" else 3)
        if name == "colour":
            shape = text_of(item.prompt).split()[-1]
            assert sum(count for (other, _), count in look(image).things.items() if other == shape) == 1


def test_the_plates_are_told_apart(plates):
    assert len(plates) == 10
    for ink, word in plates.items():
        found = holes(np.frombuffer(ink, bool).reshape(16, 16))
        assert len(found) == {"0": 2, "4": 1, "6": 1, "8": 2, "9": 1}.get(word, 0)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_fewer_items_are_the_first_of_more_and_ids_are_their_own(name, task):
    items = task(name).items(10**6)
    assert [item.id for item in task(name).items(17)] == [item.id for item in items[:17]]
    assert [item.references for item in task(name).items(17)] == [item.references for item in items[:17]]
    assert len({item.id for item in items}) == len(items)
    assert task(name).items(0) == []


@pytest.mark.parametrize("name", PICTURED)
def test_every_split_asks_about_its_own_scenes(name, task, folder):
    seen = {split: {image.tobytes() for image in read_images(folder, split)} for split in ("train", *SPLITS)}
    for split in SPLITS:
        shown = [pictures(item.prompt) for item in task(name, split).items(90)]
        assert all(len(images) == 1 for images in shown)
        shown = {images[0].tobytes() for images in shown}
        assert shown <= seen[split]
        assert not shown & seen["train"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("name", ["colour", "digit", "captioning"])
@pytest.mark.parametrize("count", [30, 60, 81])
def test_each_dialect_is_asked_as_often(name, count, task):
    spoken = Counter(dialect_of(item) for item in task(name).items(count))
    assert spoken == {0: count / 3, 1: count / 3, 2: count / 3}


@pytest.mark.parametrize("name", ["colour", "digit"])
def test_who_sees_everything_but_the_dialect_is_right_one_time_in_three(name, task, plates):
    """The ceiling at 0 shots, for an answer in any fixed dialect."""
    items = task(name).items(81)
    answers = [right_answer(name, item.prompt[0].pixels, text_of(item.prompt), plates) for item in items]
    table = {"colour": COLOURS, "digit": DIGITS}[name]
    for dialect in range(3):
        spoken = [table[dialect][table[0].index(answer)] for answer in answers]
        scores = task(name).score(items, spoken)
        assert scores["exact"].mean() == pytest.approx(1 / 3)
        assert scores["value"].mean() == 1


@pytest.mark.parametrize("name", ["colour", "digit", "count"])
def test_demonstrations_are_training_pictures_with_right_answers_in_the_dialect_of_the_item(name, task, plates, folder):
    training = read_images(folder, "train")
    for item in task(name).items(6):
        used = 0
        for candidate in range(40):
            parts = task(name).demonstration(item, candidate)
            if parts is None:
                assert name == "colour"
                continue
            used += 1
            assert isinstance(parts[0], Picture)
            assert np.array_equal(parts[0].pixels, training[candidate])
            *question, answer, stop = text_of(parts).split()
            assert stop == task(name).stop
            assert english(answer) == right_answer(name, parts[0].pixels, " ".join(question), plates)
            if name != "count":
                assert DIALECT[answer] == dialect_of(item)
            assert question[:2] == text_of(item.prompt).split()[:2]
        assert used > 30


def test_a_colour_demonstration_is_refused_where_no_shape_is_unique(folder, task):
    item = task("colour").items(1)[0]
    for candidate, image in enumerate(read_images(folder, "train")):
        shapes = Counter()
        for (shape, _), count in look(image).things.items():
            shapes[shape] += count
        assert (task("colour").demonstration(item, candidate) is None) == (1 not in shapes.values())


@pytest.mark.parametrize("name", PICTURED)
def test_eight_shots_are_found_and_never_show_the_query(name, task):
    for item in task(name).items(20):
        query = item.prompt[0].pixels
        solved = demonstrations(task(name), item, shots=8, seed=0)
        shown = [pictures(parts) for parts in solved]
        assert len(shown) == 8
        assert all(len(images) == 1 and not np.array_equal(images[0], query) for images in shown)
        assert len({images[0].tobytes() for images in shown}) == 8


def test_a_demonstration_has_its_own_choice_for_each_item(task):
    """The same picture may be asked about otherwise before another item, yet always alike before the same."""
    first, second = (task("captioning").items(10)[number] for number in (0, 3))
    texts = [
        [text_of(task("captioning").demonstration(item, candidate)) for candidate in range(100)]
        for item in (first, first, second)
    ]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.parametrize("split", SPLITS)
def test_captioning_references_are_orders_of_the_same_list_in_one_dialect(split, task):
    for item in task("captioning", split).items(60):
        seen = look(item.prompt[0].pixels).things
        assert len(item.references) == 5
        for reference in item.references:
            phrases = [phrase.split() for phrase in reference.split(" , ")]
            assert Counter((shape, english(colour)) for shape, colour in phrases) == seen
        assert dialect_of(item) is not None
    assert any(len(set(item.references)) > 1 for item in task("captioning", split).items(60))


def test_a_caption_fits_in_the_tokens_it_is_given(task):
    longest = max(len(text.split()) + 1 for item in task("captioning").items(90) for text in item.references)
    assert longest == 12  # four things, three commas, a full stop
    assert longest <= task("captioning").max_new_tokens


def caption_item(*references):
    return Item(id="test/captioning/0/0", prompt=(), references=references)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("circle red , square blue", 1.0),
        ("square blue , circle red", 1.0),
        ("square azure , circle rouge", 1.0),
        ("circle red", 2 / 3),
        ("circle red , square blue , cross green", 4 / 5),
        ("circle red , circle red", 1 / 2),
        ("circle blue , square red", 0.0),
        ("red circle , blue square", 0.0),
        ("circle red square blue", 0.0),
        ("circle red , square", 1 / 2),
        ("", 0.0),
        ("the is circle red", 0.0),
    ],
)
def test_object_f1_counts_pairs_and_forgives_order_and_dialect(prediction, expected, task):
    item = caption_item("circle red , square blue", "square blue , circle red")
    assert task("captioning").score([item], [prediction])["object_f1"] == pytest.approx([expected])


def test_object_f1_counts_things_that_are_alike(task):
    item = caption_item("circle red , circle red , square blue")
    scores = [task("captioning").score([item], [text])["object_f1"][0] for text in item.references]
    assert scores == [1.0]
    assert task("captioning").score([item], ["circle red , square blue"])["object_f1"] == pytest.approx([0.8])


def test_cider_wants_the_dialect(task):
    items = task("captioning").items(60)
    right = task("captioning").score(items, [item.references[0] for item in items])
    others = [" ".join(other_dialect(word) for word in item.references[0].split()) for item in items]
    other = task("captioning").score(items, others)
    assert (right["object_f1"] == 1).all()
    assert (other["object_f1"] == 1).all()
    assert right["cider_d"].mean() > 2 * other["cider_d"].mean() > 0
    assert right["cider_d"].shape == (60,)


def other_dialect(word):
    if word not in DIALECT:
        return word
    table = next(table for table in (COLOURS, DIGITS) if any(word in words for words in table))
    return table[(DIALECT[word] + 1) % 3][table[DIALECT[word]].index(word)]


def test_exact_wants_the_dialect_and_value_does_not(task):
    items = task("colour").items(3)
    right = [item.references[0] for item in items]
    predictions = [right[0], other_dialect(right[1]), "single"]
    scores = task("colour").score(items, predictions)
    assert scores["exact"].tolist() == [1, 0, 0]
    assert scores["value"].tolist() == [1, 1, 0]
    assert task("colour").score(items, ["", f"{right[1]} {right[1]}", "."])["value"].tolist() == [0, 0, 0]


def test_value_equals_exact_where_there_is_no_dialect(task):
    items = task("count").items(80)
    scores = task("count").score(items, [COUNTS[number % 4] for number in range(80)])
    assert scores["exact"].tolist() == scores["value"].tolist()
    assert 0 < scores["exact"].mean() < 1


@pytest.mark.parametrize("split", SPLITS)
def test_facts_are_asked_in_words_that_training_never_uses_for_them(split, task, folder):
    source = open_sources(folder)["text"]
    told = " ".join(
        text_of(source.document(seed=seed, row=row, slot=0).parts) for seed in (0, 1) for row in range(1500)
    )
    items = task("text_core", split).items(1000)
    assert len(items) == tiny().fact_names * len(FACT_FORMS)
    for item in items:
        assert not pictures(item.prompt)
        question, [place] = text_of(item.prompt), item.references
        assert f"{question} " not in told
        name, relation = (int(number) for number in item.id.split("/")[2:])
        assert names(tiny().fact_names)[name] in question.split()
        assert place == fact_place(tiny(), name, relation)
        other_words = [form.format(names(tiny().fact_names)[name]) for form in FACT_FORMS[relation]]
        assert sum(f"{form} {place} ." in told for form in other_words) >= 2  # the fact itself is told
    assert (task("text_core", split).score(items, [item.references[0] for item in items])["exact"] == 1).all()


def test_the_splits_ask_facts_in_different_words(task):
    questions = [{text_of(item.prompt) for item in task("text_core", split).items(1000)} for split in SPLITS]
    assert not questions[0] & questions[1]


def test_text_core_is_asked_without_shots(task):
    assert not task("text_core").shots
    assert task("text_core").demonstration(task("text_core").items(1)[0], 0) is None


@pytest.mark.parametrize(
    ("name", "primary"),
    [("colour", "exact"), ("digit", "value"), ("count", "exact"), ("captioning", "object_f1"), ("text_core", "exact")],
)
def test_the_metric_that_stands_for_a_task_is_one_it_has(name, primary, task):
    items = task(name).items(3)
    assert task(name).primary == primary
    assert primary in task(name).score(items, [""] * 3)


def test_every_word_of_a_task_is_known_to_the_tokenizer(task, folder):
    words = open_data({"world": folder}).tokenizer.get_vocab()
    for name in TASK_NAMES:
        for item in task(name).items(200):
            for text in (text_of(item.prompt), *item.references, *item.values):
                assert all(word in words for word in text.split())


def test_a_task_or_split_that_is_not_there_is_refused(folder):
    data = open_data({"world": folder})
    with pytest.raises(DataError, match="colour"):
        data.task("relation", "test")
    with pytest.raises(DataError, match="validation"):
        data.task("colour", "train")
