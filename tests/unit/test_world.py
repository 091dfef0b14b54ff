"""The micro world: pure, balanced, and true to what its pictures show."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mm1core.config import SOURCE_NAMES, TASK_NAMES, WorldConfig
from mm1core.data.document import Answer, Document, Picture, Text
from mm1core.data.open import open_data
from mm1core.data.text import encode
from mm1core.errors import DataError, Interrupted
from mm1core.evaluation.shots import demonstrations
from mm1core.evaluation.task import Item
from mm1core.stages import WorldStage
from mm1core.world import describe
from mm1core.world.build import read_images, run
from mm1core.world.documents import open_sources
from mm1core.world.draws import Draws, _mixed
from mm1core.world.render import render
from mm1core.world.scene import SPLITS, Scene, Split, scene
from mm1core.world.tasks import open_task

WORLD = WorldConfig(train_scenes=120, evaluation_scenes=90)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("world")
    run(WorldStage(world=WORLD), inputs={}, work=work, stop=lambda: None)
    return work


def words(parts: tuple) -> str:
    return " ".join(part.text for part in parts if not isinstance(part, Picture))


def dialects(parts: tuple) -> list[set[int]]:
    """For each answer with dialects, those it may be of, in order."""
    spoken = []
    for part in parts:
        if isinstance(part, Answer):
            of = {d for d in range(3) if part.text in (*describe.COLOURS[d], *describe.DIGITS[d])}
            if of:
                spoken.append(of)
    return spoken


# Scenes and pictures


def test_draws_are_the_same_everywhere() -> None:
    assert _mixed(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # the first output of SplitMix64 from state zero
    draws = Draws(1, 2, 3)
    assert [draws.below(1000) for _ in range(5)] == [556, 995, 511, 786, 376]
    assert Draws(1, 2).below(2**64) != Draws(2, 1).below(2**64)


def test_draws_are_uniform() -> None:
    counts = Counter(Draws(7, index).below(6) for index in range(6000))
    assert all(abs(count - 1000) < 150 for count in counts.values())
    orders = Counter(tuple(Draws(8, index).shuffled("abc")) for index in range(6000))
    assert len(orders) == 6
    assert all(abs(count - 1000) < 150 for count in orders.values())


def test_a_scene_is_pure_and_splits_are_apart() -> None:
    assert scene(WORLD, "train", 5) == scene(WORLD, "train", 5)
    seen = {split: {repr(scene(WORLD, split, index)) for index in range(300)} for split in SPLITS}
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    assert scene(WorldConfig(seed=1), "train", 5) != scene(WORLD, "train", 5)


def test_things_and_the_plate_never_share_a_cell() -> None:
    for index in range(300):
        found = scene(WORLD, "train", index)
        cells = [thing.cell for thing in found.things] + [found.plate]
        assert len(set(cells)) == len(cells)


def test_most_scenes_have_one_thing() -> None:
    counts = Counter(len(scene(WORLD, "train", index).things) for index in range(4000))
    for number, share in ((1, 0.45), (2, 0.25), (3, 0.15), (4, 0.15)):
        assert abs(counts[number] / 4000 - share) < 0.03


def test_pixels_show_the_colours_and_the_digit() -> None:
    for index in range(100):
        found = scene(WORLD, "test", index)
        pixels = render(WORLD, found)
        assert pixels.shape == (48, 48, 3)
        for thing in found.things:
            top, left = thing.cell // 3 * 16 + thing.down, thing.cell % 3 * 16 + thing.right
            middle = pixels[top + 6, left + 6].astype(int)
            assert np.ptp(middle) > 40, "a thing is coloured, the background and the plate are grey"
        top, left = found.plate // 3 * 16, found.plate % 3 * 16
        plate = pixels[top : top + 16, left : left + 16, 0]
        assert set(np.unique(plate)) == {0, 255}
    plates = {scene_with_digit(digit) for digit in range(10)}
    assert len(plates) == 10, "every digit looks different"


def scene_with_digit(digit: int) -> bytes:
    return render(WORLD, Scene(things=(), digit=digit, plate=4, background=20)).tobytes()


def test_a_larger_cell_draws_a_larger_canvas() -> None:
    world = WorldConfig(cell=24)
    assert render(world, scene(world, "train", 0)).shape == (72, 72, 3)


# Documents


def test_a_document_is_pure_and_seeds_differ(folder: Path) -> None:
    once, again = open_sources(folder), open_sources(folder)
    for name in SOURCE_NAMES:
        texts = [words(source[name].document(seed=3, row=8, slot=1).parts) for source in (once, again)]
        assert texts[0] == texts[1]
        others = {words(once[name].document(seed=seed, row=8, slot=1).parts) for seed in range(8)}
        assert len(others) > 1


def test_every_word_is_in_the_vocabulary(folder: Path) -> None:
    data = open_data({"world": folder})
    for name, source in data.sources.items():
        for row in range(60):
            document = source.document(seed=0, row=row, slot=0)
            tokens, weights, pictures = encode(document, data.tokenizer, num_image_tokens=4, answer_weight=4.0)
            spoken = data.tokenizer.decode([token for token in tokens if token > 3], skip_special_tokens=False)
            assert spoken == words(document.parts)
            assert len(tokens) == len(weights)
            assert (len(pictures) == 0) == (name == "text")


def test_a_list_speaks_one_dialect_and_statements_their_own(folder: Path) -> None:
    source = open_sources(folder)["synthetic_captions"]
    mixed = 0
    for row in range(200):
        parts = source.document(seed=0, row=row, slot=0).parts
        assert isinstance(parts[0], Picture)
        text = [part.text for part in parts[1:] if isinstance(part, Text | Answer)]
        start = text.index("see")
        end = text.index(".", start)
        listed = tuple(part for part in parts[1:][start:end])
        stated = tuple(part for part in (*parts[1:][:start], *parts[1:][end:]))
        common = set.intersection(*dialects(listed))
        assert common, "the colours of a list share a dialect"
        mixed += any(not (common & spoken) for spoken in dialects(stated))
    assert 60 < mixed < 130, "a statement with a dialect leaves the list's in two of three captions"


def test_an_interleaved_document_speaks_one_dialect(folder: Path) -> None:
    source = open_sources(folder)["interleaved"]
    counts = Counter()
    for row in range(300):
        parts = source.document(seed=0, row=row, slot=0).parts
        spoken = dialects(parts)
        common = set.intersection(*spoken) if spoken else {0}
        assert common
        counts[min(common)] += 1
        assert 2 <= sum(isinstance(part, Picture) for part in parts) <= 10
    assert min(counts.values()) > 70, "the three dialects are balanced"


def test_statements_off_the_image_are_the_share_asked_for(tmp_path: Path) -> None:
    world = WorldConfig(train_scenes=50, evaluation_scenes=5, off_image=0.0)
    run(WorldStage(world=world), inputs={}, work=tmp_path, stop=lambda: None)
    source = open_sources(tmp_path)["interleaved"]
    texts = [words(source.document(seed=0, row=row, slot=0).parts) for row in range(100)]
    assert not any("say" in text.split() for text in texts)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_alt_text_is_the_share_of_captions_asked_for(tmp_path: Path, share: float, low: int, high: int) -> None:
    world = WorldConfig(train_scenes=50, evaluation_scenes=5, alt_text=share)
    run(WorldStage(world=world), inputs={}, work=tmp_path, stop=lambda: None)
    sources = open_sources(tmp_path)
    noisy = sum("see" not in words(sources["captions"].document(seed=0, row=r, slot=0).parts) for r in range(200))
    assert low <= noisy <= high
    assert all(
        "see" in words(sources["synthetic_captions"].document(seed=0, row=row, slot=0).parts) for row in range(50)
    )


def test_facts_hold_and_their_held_out_paraphrases_are_never_read(folder: Path) -> None:
    source = open_sources(folder)["text"]
    read = " ".join(words(source.document(seed=0, row=row, slot=0).parts) for row in range(1500))
    for split in ("validation", "test"):
        for item in open_task(folder, "text_core", split).items(1000):
            assert words(item.prompt) not in read
    places: dict[str, set[str]] = {}
    for sentence in read.split(" . "):
        *_, place = sentence.split()
        if place in describe.PLACES:
            places.setdefault(sentence.removesuffix(place), set()).add(place)
    assert all(len(found) == 1 for found in places.values()), "a fact has one place"
    assert len(places) > 250


# Tasks


@pytest.mark.parametrize("name", TASK_NAMES)
def test_items_are_a_prefix_and_splits_differ(folder: Path, name: str) -> None:
    task = open_task(folder, name, "test")
    assert [item.id for item in task.items(10)] == [item.id for item in task.items(30)][:10]
    asked = {split: [shown(item) for item in open_task(folder, name, split).items(40)] for split in SPLITS[1:]}
    assert not set(asked["validation"]) & set(asked["test"])


def shown(item: Item) -> bytes:
    return b"".join(part.pixels.tobytes() if isinstance(part, Picture) else part.text.encode() for part in item.prompt)


def test_answers_are_true_of_the_scene(folder: Path) -> None:
    for item in open_task(folder, "colour", "test").items(60):
        _, _, index, dialect = item.id.split("/")
        shown = scene(WORLD, "test", int(index))
        shape = words(item.prompt).split()[-1]
        [thing] = [thing for thing in shown.things if describe.SHAPES[thing.shape] == shape]
        assert item.references == (describe.COLOURS[int(dialect)][thing.colour],)
        assert item.values == {row[thing.colour] for row in describe.COLOURS}
    for item in open_task(folder, "digit", "test").items(60):
        _, _, index, dialect = item.id.split("/")
        assert item.references == (describe.DIGITS[int(dialect)][scene(WORLD, "test", int(index)).digit],)
    for item in open_task(folder, "count", "test").items(60):
        number = len(scene(WORLD, "test", int(item.id.split("/")[2])).things)
        assert item.references == (describe.COUNTS[number - 1],)


@pytest.mark.parametrize("name", ["colour", "digit"])
def test_an_answer_blind_to_the_dialect_is_right_one_time_in_three(folder: Path, name: str) -> None:
    """The ceiling of zero-shot exact match: who knows the value but always speaks one dialect."""
    task = open_task(folder, name, "test")
    items = task.items(60)
    table = describe.COLOURS if name == "colour" else describe.DIGITS
    for dialect in range(3):
        answers = [next(word for word in table[dialect] if word in item.values) for item in items]
        scores = task.score(items, answers)
        assert scores["value"].mean() == 1
        assert scores["exact"].mean() == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["colour", "digit", "count", "captioning"])
def test_demonstrations_speak_the_dialect_of_the_item_and_are_nested(folder: Path, name: str) -> None:
    task = open_task(folder, name, "test")
    train = read_images(folder, "train")
    for item in task.items(12):
        eight = demonstrations(task, item, shots=8, seed=0)
        assert [words(parts) for parts in demonstrations(task, item, shots=4, seed=0)] == [
            words(parts) for parts in eight[:4]
        ]
        dialect = int(item.id.split("/")[3])
        for parts in eight:
            assert all(dialect in spoken for spoken in dialects(parts))
            assert words(parts).endswith(" .")
            assert isinstance(parts[0], Picture)
            assert any(np.array_equal(parts[0].pixels, image) for image in train)


def test_object_f1_forgives_the_dialect_and_the_order() -> None:
    from mm1core.world.tasks import _object_f1

    assert _object_f1("cross red , circle blue", "circle blau , cross crimson") == 1
    assert _object_f1("cross red , circle blue", "cross red") == pytest.approx(2 / 3)
    assert _object_f1("cross red", "cross blue") == 0
    assert _object_f1("cross red , cross red", "cross red , cross red") == 1
    assert _object_f1("cross red", "cross red , cross red") == pytest.approx(2 / 3)
    assert _object_f1("cross red", "") == 0


def test_unknown_tasks_and_splits_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"relation.*colour"):
        open_task(folder, "relation", "test")
    with pytest.raises(DataError, match="train"):
        open_task(folder, "colour", "train")


# The stage


def test_the_stage_is_the_same_bytes_twice_and_stops_when_asked(folder: Path, tmp_path: Path) -> None:
    result = run(WorldStage(world=WORLD), inputs={}, work=tmp_path, stop=lambda: None)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    assert result["scenes"] == {"train": 120, "validation": 90, "test": 90}
    with pytest.raises(Interrupted):
        run(WorldStage(world=WORLD), inputs={}, work=tmp_path, stop=lambda: "preempted")


def test_images_are_those_of_their_scenes(folder: Path) -> None:
    splits: tuple[Split, ...] = SPLITS
    for split in splits:
        images = read_images(folder, split)
        for index in (0, len(images) - 1):
            assert np.array_equal(images[index], render(WORLD, scene(WORLD, split, index)))


def test_a_document_names_itself(folder: Path) -> None:
    document = open_sources(folder)["captions"].document(seed=0, row=12, slot=3)
    assert isinstance(document, Document)
    assert document.name == "captions row 12 slot 3"
