"""What a run leaves on disk: the spool, checkpoints, and files written whole or not at all."""

import errno
import json
import os
import resource
import signal
import zlib
from contextlib import contextmanager

import pytest
import torch
from shard_files import pairs, write_tar

from mm1core import checkpoints, spool
from mm1core.config import FilesConfig, TokenizerConfig, WorldConfig
from mm1core.data import corpus, tokenizer
from mm1core.errors import StorageError
from mm1core.stages import CorpusStage, TokenizerStage, WorldStage
from mm1core.storage import write_atomically
from mm1core.world import build


def test_spool_lines_come_back_in_order(tmp_path):
    path = tmp_path / "spool.jsonl"
    assert spool.read(path) == []
    spool.append(path, 1, {"train/loss": 2.5})
    spool.append(path, 2, {"train/loss": 1.5, "train/learning_rate": 0.1})
    found = spool.read(path)
    assert [(line["step"], line["metrics"]) for line in found] == [
        (1, {"train/loss": 2.5}),
        (2, {"train/loss": 1.5, "train/learning_rate": 0.1}),
    ]
    assert all(isinstance(line["time"], float) for line in found)


def test_a_line_cut_short_is_skipped_by_readers_and_removed_by_trim(tmp_path):
    path = tmp_path / "spool.jsonl"
    spool.append(path, 1, {"a": 1.0})
    with path.open("a") as file:
        file.write('{"step": 2, "time": 1.0, "metr')
    assert [line["step"] for line in spool.read(path)] == [1]
    spool.trim(path, 5)
    spool.append(path, 2, {"a": 2.0})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_trim_cuts_later_steps_only(tmp_path):
    path = tmp_path / "spool.jsonl"
    spool.trim(path, 3)  # nothing there yet
    for step in (1, 2, 3, 3, 4, 5):
        spool.append(path, step, {"a": float(step)})
    before = path.read_text().splitlines()
    spool.trim(path, 3)
    assert path.read_text().splitlines() == before[:4]


def state(step: int) -> dict:
    return {"step": step, "weights": torch.arange(1000) + step, "list": [1.5, 2.5], "none": None}


def test_the_newest_two_checkpoints_are_kept_and_the_newest_is_loaded(tmp_path):
    assert checkpoints.load_newest(tmp_path / "checkpoints") is None
    for step in (100, 200, 1000):
        checkpoints.save(tmp_path / "checkpoints", step, state(step))
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-00000200.ckpt", "step-00001000.ckpt"]
    found = checkpoints.load_newest(tmp_path / "checkpoints")
    assert found["step"] == 1000
    assert torch.equal(found["weights"], state(1000)["weights"])
    assert found["list"] == [1.5, 2.5]


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "a flipped bit in the weights", "another file", "another file with its checksum"]
)
def test_a_corrupt_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, caplog, damage):
    checkpoints.save(tmp_path, 1, state(1))
    path = checkpoints.save(tmp_path, 2, state(2))
    content = bytearray(path.read_bytes())
    if damage == "a flipped bit in the weights":
        place = content.find(state(2)["weights"].numpy().tobytes())
        assert place > 0
        content[place + 500] ^= 1
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "another file": b"step 2\n" * 900,
            "another file with its checksum": b"step 2\n" + zlib.crc32(b"step 2\n").to_bytes(4, "little"),
        }.get(damage, content)
    )
    assert checkpoints.load_newest(tmp_path)["step"] == 1
    assert sorted(os.listdir(tmp_path)) == ["step-00000001.ckpt", "step-00000002.ckpt.corrupt"]
    assert "step-00000002" in caplog.text
    checkpoints.save(tmp_path, 3, state(3))
    assert checkpoints.load_newest(tmp_path)["step"] == 3


def test_if_all_checkpoints_are_corrupt_there_is_none(tmp_path):
    for step in (1, 2):
        checkpoints.save(tmp_path, step, state(step)).write_bytes(b"")
    assert checkpoints.load_newest(tmp_path) is None


def test_a_half_written_checkpoint_is_none(tmp_path):
    checkpoints.save(tmp_path, 1, state(1))
    (tmp_path / "step-00000002.ckpt.tmp").write_bytes(b"half")
    assert checkpoints.load_newest(tmp_path)["step"] == 1


@contextmanager
def small_disk(most: int = 1 << 16):
    """The system refuses to let a file grow past ``most`` bytes, as a full disk would."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path):
    checkpoints.save(tmp_path, 1, state(1))
    with small_disk(), pytest.raises(StorageError, match=r"step-00000002.*free space") as error:
        checkpoints.save(tmp_path, 2, {"weights": torch.zeros(1 << 20)})
    assert os.listdir(tmp_path) == ["step-00000001.ckpt"]
    assert errno.EFBIG in [getattr(cause, "errno", None) for cause in causes(error.value)]
    with small_disk(), pytest.raises(StorageError, match="spool"):
        spool.append(tmp_path / "spool.jsonl", 1, {f"metric {number}": 1.0 for number in range(9999)})


@pytest.mark.parametrize("kind", ["world", "corpus", "tokenizer"])
def test_a_stage_on_a_full_disk_is_one_clear_error_and_leaves_no_half_file(tmp_path, kind):
    write_tar(tmp_path / "0.tar", pairs(range(20)))
    files = FilesConfig(format="webdataset", paths=(str(tmp_path / "0.tar"),))
    prepared, work = tmp_path / "corpus", tmp_path / "work"
    prepared.mkdir()
    work.mkdir()
    corpus.run(CorpusStage(source="captions", files=files), inputs={}, work=prepared, stop=go_on)
    run, stage = {
        "world": (build.run, WorldStage(world=WorldConfig(train_scenes=9, evaluation_scenes=9))),
        "corpus": (corpus.run, CorpusStage(source="captions", files=files)),
        "tokenizer": (tokenizer.run, TokenizerStage(tokenizer=TokenizerConfig(vocabulary=300))),
    }[kind]
    with small_disk(most=200), pytest.raises(StorageError, match="free space"):
        run(stage, inputs={"corpus:captions": prepared}, work=work, stop=go_on)
    assert [path for path in work.rglob("*") if path.is_file()] == []


def go_on() -> None:
    return None


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "work").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="work"):
        checkpoints.save(tmp_path / "work" / "checkpoints", 1, state(1))


def test_an_error_while_writing_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"new")
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def causes(error: BaseException | None):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
