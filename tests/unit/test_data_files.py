"""Documents and the captioning task over files: pure in their position, fair between splits, exact across restarts."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from shard_files import caption, pairs, write_lines, write_tar

from mm1core.config import DataConfig, FilesConfig, ImageConfig, TokenizerConfig
from mm1core.data import corpus, tokenizer
from mm1core.data.captioning import FileCaptioning, word_f1
from mm1core.data.document import END, Document, Picture, Text
from mm1core.data.files import FileSource
from mm1core.data.index import Index
from mm1core.data.rows import RowStream, steps
from mm1core.data.text import END_ID
from mm1core.errors import DataError
from mm1core.open import open_data
from mm1core.stages import CorpusStage, TokenizerStage


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Work folders of the stages over two tar shards of 40 pictures each and 60 lines."""
    folder = tmp_path_factory.mktemp("files")
    for shard in range(2):
        write_tar(folder / f"{shard}.tar", pairs(range(40 * shard, 40 * shard + 40)))
    write_lines(folder / "text.jsonl", [{"text": f"line {n} of {'many ' * (n % 9)}words"} for n in range(60)])
    made = {}
    for source in ("captions", "interleaved", "text"):
        files = FilesConfig(
            format="jsonl" if source == "text" else "webdataset",
            paths=(str(folder / ("text.jsonl" if source == "text" else "*.tar")),),
            held_out=0.2,
        )
        made[f"corpus:{source}"] = folder / source
        (folder / source).mkdir()
        corpus.run(CorpusStage(source=source, files=files), inputs={}, work=folder / source, stop=lambda: None)
    (folder / "tokenizer").mkdir()
    stage = TokenizerStage(tokenizer=TokenizerConfig(vocabulary=320))
    tokenizer.run(stage, inputs=dict(made), work=folder / "tokenizer", stop=lambda: None)
    return {**made, "tokenizer": folder / "tokenizer"}


def stream(inputs: dict[str, Path]) -> RowStream:
    data = open_data(inputs)
    return RowStream(
        seed=1,
        mix={"captions": 1, "interleaved": 1, "text": 1},
        sources=data.sources,
        tokenizer=data.tokenizer,
        data=DataConfig(row_tokens=96),
        image=ImageConfig(resolution=8, patch_size=4),
        num_image_tokens=4,
    )


def texts(document: Document) -> list[str]:
    return [part.text for part in document.parts if isinstance(part, Text)]


def test_a_caption_document_is_a_picture_its_caption_and_the_end(inputs: dict[str, Path]) -> None:
    source = FileSource("captions", inputs["corpus:captions"])
    found = Index(inputs["corpus:captions"], "captions")
    pixels = {found.text(n): found.image(n) for n in range(len(found))}
    for slot in range(20):
        document = source.document(seed=0, row=3, slot=slot)
        picture, text, end = document.parts
        assert isinstance(picture, Picture)
        assert isinstance(text, Text)
        assert isinstance(end, Text)
        assert np.array_equal(picture.pixels, pixels[text.text])
        assert end.text == END
        assert document.name.startswith("captions ")
        assert document.name.endswith(f"{int(text.text.split()[-1]):09d}")


def test_an_interleaved_document_is_several_pairs(inputs: dict[str, Path]) -> None:
    source = FileSource("interleaved", inputs["corpus:interleaved"])
    counts = Counter()
    for row in range(100):
        document = source.document(seed=0, row=row, slot=0)
        assert [type(part) for part in document.parts] == [Picture, Text, Text] * (len(document.parts) // 3)
        assert set(texts(document)[1::2]) == {END}
        counts[len(document.parts) // 3] += 1
    assert sorted(counts) == [2, 3, 4, 5, 6, 7, 8]


def test_training_never_reads_a_held_out_sample_and_reads_all_others(inputs: dict[str, Path]) -> None:
    source = FileSource("captions", inputs["corpus:captions"])
    found = Index(inputs["corpus:captions"], "captions")
    seen = Counter(texts(source.document(seed=5, row=row, slot=0))[0] for row in range(2000))
    train = {found.text(n) for n in found.numbers("train")}
    assert set(seen) == train
    mean = 2000 / len(train)
    assert max(seen.values()) < mean + 6 * mean**0.5  # uniform, as far as a count can tell
    assert min(seen.values()) > mean - 5 * mean**0.5


def test_position_and_seed_choose_the_sample(inputs: dict[str, Path]) -> None:
    source = FileSource("text", inputs["corpus:text"])
    again = pickle.loads(pickle.dumps(FileSource("text", inputs["corpus:text"])))
    positions = [(seed, row, slot) for seed in (0, 1) for row in (0, 7) for slot in (0, 1, 2)]
    names = [source.document(seed=seed, row=row, slot=slot).name for seed, row, slot in positions]
    backwards = [again.document(seed=seed, row=row, slot=slot).name for seed, row, slot in reversed(positions)]
    assert names == backwards[::-1]
    assert len(set(names)) > 6


def test_the_draw_of_samples_never_changes_by_accident(inputs: dict[str, Path]) -> None:
    """Another draw is another result: bump the version of the stages that train, then change these numbers."""
    source = FileSource("captions", inputs["corpus:captions"])
    drawn = [texts(source.document(seed=0, row=row, slot=slot))[0] for row in range(3) for slot in range(2)]
    assert [int(text.split()[-1]) for text in drawn] == [70, 44, 24, 54, 62, 77]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_data_order_is_the_same_across_restarts_and_workers(inputs: dict[str, Path], workers: int) -> None:
    whole = list(steps(stream(inputs), first_step=0, total_steps=5, rows_per_step=4, workers=0))
    resumed = list(steps(stream(inputs), first_step=2, total_steps=5, rows_per_step=4, workers=workers))
    for expected, batch in zip(whole[2:], resumed, strict=True):
        assert torch.equal(batch.tokens, expected.tokens)
        assert torch.equal(batch.images, expected.images)
        assert batch.image_names == expected.image_names
    assert any(END_ID in batch.tokens for batch in whole)


# Captioning


@pytest.mark.parametrize("split", ["validation", "test"])
def test_items_are_the_held_out_samples(inputs: dict[str, Path], split: str) -> None:
    task = open_data(inputs).task("captioning", split)
    items = task.items(1000)
    found = Index(inputs["corpus:captions"], "captions")
    assert sorted(item.references[0] for item in items) == sorted(found.text(n) for n in found.numbers(split))
    assert len({item.id for item in items}) == len(items)
    assert [item.id for item in task.items(3)] == [item.id for item in items][:3]
    assert [item.references[0] for item in items] != sorted(item.references[0] for item in items)  # not file order
    for item in items:
        (shown,) = item.prompt
        assert isinstance(shown, Picture)
        number = next(n for n in range(len(found)) if found.text(n) == item.references[0])
        assert np.array_equal(shown.pixels, found.image(number))


def test_demonstrations_are_training_documents_and_never_held_out(inputs: dict[str, Path]) -> None:
    task = FileCaptioning("captions", inputs["corpus:captions"], "test")
    found = Index(inputs["corpus:captions"], "captions")
    item = task.items(1)[0]
    shown = [task.demonstration(item, candidate) for candidate in range(task.pool)]
    assert task.pool == len(found.numbers("train"))
    captions = set()
    for parts in shown:
        assert parts is not None
        picture, text, end = parts
        assert isinstance(picture, Picture)
        assert isinstance(text, Text)
        assert end == Text(text=END)
        captions.add(text.text)
    assert captions == {found.text(n) for n in found.numbers("train")}


def test_scores_of_right_half_right_and_wrong_captions(inputs: dict[str, Path]) -> None:
    task = FileCaptioning("captions", inputs["corpus:captions"], "test")
    items = task.items(4)
    right = [item.references[0] for item in items]
    scores = task.score(items, [f" {right[0]}", "a thing", "", right[3].replace(" ", "  ")])
    assert set(scores) == {"exact", "f1", "cider_d"}
    assert scores["exact"].tolist() == [1, 0, 0, 1]
    assert scores["f1"].tolist() == pytest.approx([1, 2 * 2 / (2 + 4), 0, 1])
    assert scores["cider_d"].shape == (4,)
    assert scores["cider_d"][0] > scores["cider_d"][2] == 0
    assert task.primary in scores


def test_words_count_as_often_as_both_have_them() -> None:
    assert word_f1("red red heart", "Red heart") == pytest.approx(2 * 2 / 5)
    assert word_f1("", "") == 0
    assert word_f1("heart", "heart") == 1


def test_captioning_asks_about_captions_first(inputs: dict[str, Path]) -> None:
    without = {role: path for role, path in inputs.items() if role != "corpus:captions"}
    assert open_data(without).task("captioning", "test").items(1)[0].references[0].startswith("a thing")
    with pytest.raises(DataError, match="captioning"):
        open_data({"corpus:text": inputs["corpus:text"], "tokenizer": inputs["tokenizer"]}).task("captioning", "test")


# Opening


def test_other_tasks_and_missing_inputs_are_named(inputs: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="colour"):
        open_data(inputs).task("colour", "test")
    with pytest.raises(DataError, match="tokenizer"):
        open_data({"corpus:captions": inputs["corpus:captions"]})
    with pytest.raises(DataError, match="world"):
        open_data({})


def test_captions_decode_to_themselves(inputs: dict[str, Path]) -> None:
    opened = open_data(inputs).tokenizer
    assert opened.decode(opened.encode(caption(7)).ids) == caption(7)
