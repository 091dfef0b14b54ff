"""The world stage: what it writes, twice alike, and a tokenizer that knows every word there is."""

import json
from hashlib import sha256

import numpy as np
import pytest
from tiny_world import build_world, text_of, tiny

from mm1core.config import SOURCE_NAMES, WorldConfig
from mm1core.data.document import BOS, END, IMAGE, PAD, Document, Picture, Text
from mm1core.data.text import encode
from mm1core.errors import ConfigError, DataError, Interrupted
from mm1core.open import open_data
from mm1core.stages import WorldStage
from mm1core.world import build
from mm1core.world.build import read_images, read_world
from mm1core.world.describe import vocabulary
from mm1core.world.render import render
from mm1core.world.scene import SPLITS, scene

FILES = ["images_test.npy", "images_train.npy", "images_validation.npy", "tokenizer.json", "world.json"]


def go_on():
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_world(tmp_path_factory.mktemp("world"))


def test_a_second_build_is_the_same_files_and_the_same_result(folder, tmp_path):
    stage = WorldStage(world=tiny())
    result = build.run(stage, inputs={}, work=tmp_path, stop=go_on)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert build.run(stage, inputs={}, work=tmp_path, stop=go_on) == result  # over what is there
    assert result["scenes"] == {"train": 200, "validation": 90, "test": 90}


def test_the_images_are_those_of_the_scenes_and_mapped_into_memory(folder):
    assert read_world(folder) == tiny()
    for split in SPLITS:
        images = read_images(folder, split)
        assert images.dtype == np.uint8
        assert images.shape == ((200 if split == "train" else 90), 48, 48, 3)
        assert isinstance(images.base, np.memmap)
        assert not images.flags.writeable
        for index in (0, 31, len(images) - 1):
            assert np.array_equal(images[index], render(tiny(), scene(tiny(), split, index)))


def test_a_stopped_build_can_be_done_again(folder, tmp_path):
    answers = iter([None, "preempted"])
    with pytest.raises(Interrupted) as caught:
        build.run(WorldStage(world=tiny()), inputs={}, work=tmp_path, stop=lambda: next(answers))
    assert caught.value.reason == "preempted"
    assert not (tmp_path / "world.json").exists()
    build.run(WorldStage(world=tiny()), inputs={}, work=tmp_path, stop=go_on)
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in FILES)


def test_the_tokenizer_starts_with_the_special_tokens_and_has_no_others(folder):
    tokenizer = open_data({"world": folder}).tokenizer
    words = tokenizer.get_vocab()
    assert [tokenizer.id_to_token(number) for number in range(4)] == [PAD, BOS, END, IMAGE]
    assert sorted(words.values()) == list(range(len(words)))
    assert set(words) == {PAD, BOS, END, IMAGE, *vocabulary(tiny())}


@pytest.mark.parametrize(
    "changes", [{}, {"alt_text": 0.5}, {"dialects": 1}, {"cell": 24, "seed": 5}, {"fact_names": 150}, {"fact_names": 1}]
)
def test_the_tokenizer_reads_every_document_and_writes_it_again(changes, tmp_path):
    data = open_data({"world": build_world(tmp_path / "world", train_scenes=60, evaluation_scenes=10, **changes)})
    used = set()
    for name in SOURCE_NAMES:
        for row in range(400):
            document = data.sources[name].document(seed=1, row=row, slot=0)
            tokens, _, pictures = encode(document, data.tokenizer, num_image_tokens=1, answer_weight=4.0)
            words = [token for token in tokens if token > 3]
            assert data.tokenizer.decode(words) == text_of(document.parts)
            assert len(pictures) == sum(isinstance(part, Picture) for part in document.parts)
            used.update(words)
    if changes == {"alt_text": 0.5}:
        assert used == set(range(4, data.tokenizer.get_vocab_size()))  # no word of the vocabulary is idle


def test_an_unknown_word_is_an_error_that_names_the_document(folder):
    document = Document(name="captions row 3 slot 1", parts=(Text(text="see zebra"),))
    with pytest.raises(DataError, match="captions row 3 slot 1"):
        encode(document, open_data({"world": folder}).tokenizer, num_image_tokens=1, answer_weight=1.0)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"cell": 7}, "data.world.cell"),
        ({"fact_names": 151}, "data.world.fact_names"),
        ({"dialects": 4}, "data.world.dialects"),
        ({"alt_text": 1.1}, "data.world.alt_text"),
        ({"train_scenes": 0}, "data.world.train_scenes"),
    ],
)
def test_a_world_that_cannot_be_is_refused_by_the_name_of_its_key(change, key):
    with pytest.raises(ConfigError, match=key):
        WorldConfig(**change)


def test_the_world_is_the_one_its_version_stands_for(folder):
    """If this fails on purpose, bump the version of ``world`` in ``stages.py``: older records are of another world."""
    data = open_data({"world": folder})
    digest = sha256()
    for split in SPLITS:
        digest.update(read_images(folder, split).tobytes())
    for name in SOURCE_NAMES:
        for row in range(100):
            for part in data.sources[name].document(seed=0, row=row, slot=0).parts:
                digest.update(part.pixels.tobytes() if isinstance(part, Picture) else part.text.encode())
    for name in ("colour", "digit", "count", "captioning", "text_core"):
        task = data.task(name, "test")
        for item in task.items(30):
            shown = [text_of(task.demonstration(item, candidate) or ()) for candidate in range(3)]
            digest.update(repr((item.id, text_of(item.prompt), item.references, sorted(item.values), shown)).encode())
    assert digest.hexdigest()[:12] == "4c181ae27f37"
