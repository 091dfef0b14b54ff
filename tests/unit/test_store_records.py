"""Records are there or not, whatever is killed; what is damaged is set aside; a bad disk is named with a remedy."""

import errno
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from ablations.errors import STORE_UNUSABLE, StoreError
from ablations.failures import fingerprint
from ablations.store import StageFolder, Store, commit_json, store_errors, write_json

RECORD = {"kind": "noop", "key": "0123456789ab", "result": {"metrics": {"x": 1.0}}}

FAILURE = {"class": "killed", "error": "ended by signal 9", "traceback_tail": "", "attempt": 1}


@pytest.fixture
def folder(tmp_path: Path) -> StageFolder:
    stage = Store(tmp_path).stage("noop", "0123456789ab")
    stage.work.mkdir(parents=True)
    return stage


def refuse_warning(text: str) -> None:
    raise AssertionError(text)


def test_what_is_written_is_read(folder):
    assert folder.record(refuse_warning) is None
    folder.write_record(RECORD)
    assert folder.record(refuse_warning) == RECORD


def test_a_record_ends_a_failure(folder):
    folder.write_failure(FAILURE)
    assert folder.failure(refuse_warning) == FAILURE
    folder.write_record(RECORD)
    assert folder.failure(refuse_warning) is None


def test_equal_records_are_equal_bytes(folder):
    folder.write_record(RECORD)
    first = (folder.path / "record.json").read_bytes()
    folder.write_record(dict(RECORD))
    assert (folder.path / "record.json").read_bytes() == first


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"kind": "noop", "key": "0123',
        b"[]",
        b'{"kind": "noop", "key": "0123456789ab"}',
        b'{"kind": "noop", "key": "another", "result": {}}',
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_record_is_set_aside_once_and_kept(folder, damage):
    path = folder.path / "record.json"
    warnings: list[str] = []
    for number in (1, 2):
        path.write_bytes(damage)
        assert folder.record(warnings.append) is None
        assert not path.exists()
        assert (folder.path / f"record.json.corrupt-{number}").read_bytes() == damage
    assert len(warnings) == 2
    assert "record.json" in warnings[0]
    folder.write_record(RECORD)
    assert folder.record(refuse_warning) == RECORD


VALUES = strategies.recursive(
    strategies.none() | strategies.integers() | strategies.floats() | strategies.text(max_size=3),
    lambda inner: strategies.lists(inner, max_size=2) | strategies.dictionaries(strategies.text(max_size=3), inner),
    max_leaves=4,
)
PLACES = (
    "kind",
    "key",
    "result",
    "result metrics",
    "result metrics x",
    "files",
    "files a",
    "files a bytes",
    "files a crc32",
    f"files {'a' * 300}",
    "provenance",
    "provenance seconds",
    "",
)
WHOLE = {**RECORD, "files": {"a": {"bytes": 1, "crc32": "83dcefb7"}}, "provenance": {"seconds": 1.0}}
DEEP = b"[" * 200_000


def put(value: Any, place: str, new: Any) -> Any:
    """``value`` with what is at ``place`` in it replaced."""
    name, _, rest = place.partition(" ")
    return {**value, name: put(value.get(name, {}), rest, new)} if name else new


@given(place=strategies.sampled_from(PLACES), new=VALUES)
def test_of_whatever_shape_a_record_is_used_or_set_aside(place, new):
    with tempfile.TemporaryDirectory() as root:
        folder = Store(Path(root)).stage(RECORD["kind"], RECORD["key"])
        folder.work.mkdir(parents=True)
        (folder.work / "a").write_bytes(b"1")
        path = folder.path / "record.json"
        path.write_text(json.dumps(put(WHOLE, place, new)))
        warnings: list[str] = []
        record = folder.record(warnings.append, contents=True)
        assert (record is None) == (len(warnings) == 1) == (not path.exists())
        if record is not None:
            assert all(math.isfinite(number) for number in record["result"].get("metrics", {}).values())
        folder.write_record(WHOLE)
        assert folder.record(refuse_warning) == WHOLE


@given(place=strategies.sampled_from([*FAILURE, ""]), new=VALUES)
def test_of_whatever_shape_a_failure_is_used_or_set_aside(place, new):
    with tempfile.TemporaryDirectory() as root:
        folder = Store(Path(root)).stage(RECORD["kind"], RECORD["key"])
        folder.path.mkdir(parents=True)
        path = folder.path / "failure.json"
        path.write_text(json.dumps(put(FAILURE, place, new)))
        warnings: list[str] = []
        failure = folder.failure(warnings.append)
        assert (failure is None) == (len(warnings) == 1) == (not path.exists())
        if failure is not None:
            fingerprint(failure)
        folder.write_failure(FAILURE)
        assert folder.failure(refuse_warning) == FAILURE


@pytest.mark.parametrize("name", ["record.json", "failure.json"])
@pytest.mark.parametrize("damage", ["a folder", "brackets in brackets"])
def test_what_is_no_file_and_what_is_too_deep_is_set_aside(folder, name, damage):
    path = folder.path / name
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(DEEP)
    warnings: list[str] = []
    read = folder.record if name == "record.json" else folder.failure
    assert read(warnings.append) is None
    assert len(warnings) == 1
    assert path.with_name(f"{name}.corrupt-1").exists()
    folder.write_failure(FAILURE)
    folder.write_record(RECORD)
    assert folder.record(refuse_warning) == RECORD


def test_a_record_without_its_work_does_not_count(folder):
    folder.write_record(RECORD)
    folder.work.rmdir()
    warnings: list[str] = []
    assert folder.record(warnings.append) is None
    assert len(warnings) == 1


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"half")])
def test_a_record_whose_files_are_lost_or_cut_does_not_count(folder, damage):
    file = folder.work / "deep" / "weights.bin"
    file.parent.mkdir()
    file.write_bytes(b"whole weights")
    record = {**RECORD, "files": folder.files()}
    folder.write_record(record)
    assert folder.record(refuse_warning) == record
    damage(file)
    warnings: list[str] = []
    assert folder.record(warnings.append) is None
    assert "work/deep/weights.bin" in warnings[0]


@pytest.mark.parametrize("checksums", [True, False])
def test_another_content_of_the_same_size_is_seen_where_contents_are_asked_for(folder, checksums):
    """Records before checksums have sizes alone, and stay as good as they were."""
    file = folder.work / "weights.bin"
    file.write_bytes(b"whole weights")
    record = {**RECORD, "files": folder.files() if checksums else {"weights.bin": 13}}
    folder.write_record(record)
    assert folder.record(refuse_warning, contents=True) == record
    file.write_bytes(b"whole seights")
    assert folder.record(refuse_warning) == record
    warnings: list[str] = []
    assert folder.record(warnings.append, contents=True) == (None if checksums else record)
    assert ["work/weights.bin" in warning for warning in warnings] == [True] * checksums


def test_checkpoints_are_kept_until_the_stage_is_done_and_are_no_part_of_what_it_leaves(folder):
    checkpoint = folder.work / "checkpoints" / "step-7.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"weights")
    (folder.work / "spool.jsonl").write_text("{}")
    (folder.work / "scores.npz").write_bytes(b"1234")
    assert folder.newest_checkpoint() == 7
    assert folder.files() == {"scores.npz": {"bytes": 4, "crc32": "9be3e0a3"}}
    folder.drop_checkpoints()
    assert folder.newest_checkpoint() is None
    assert (folder.work / "spool.jsonl").exists()


@pytest.mark.parametrize("write", [commit_json, write_json])
def test_a_write_that_is_cut_short_leaves_the_old_file(folder, write):
    path = folder.path / "record.json"
    write(path, {"old": True})
    program = (
        "import os, ablations.store as store\nfrom pathlib import Path\n"
        f"store.os.replace = lambda *_: os._exit(9)\nstore.{write.__name__}(Path({str(path)!r}), {{'new': True}})"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 9
    assert json.loads(path.read_bytes()) == {"old": True}
    write(path, {"newer": True})
    assert json.loads(path.read_bytes()) == {"newer": True}
    assert [entry.name for entry in folder.path.iterdir() if entry.is_file()] == ["record.json"]


def test_numbers_that_are_not_finite_are_refused_and_nothing_is_written(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.write_record({**RECORD, "result": {"metrics": {"x": float("nan")}}})
    assert folder.record(refuse_warning) is None


def test_a_store_is_made_where_there_is_none(tmp_path):
    Store(tmp_path / "a" / "b").prepare()
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(StoreError, match="--store") as refusal:
        Store(tmp_path / "store").prepare()
    assert refusal.value.exit_code == STORE_UNUSABLE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_disk_fault_says_where_and_what_to_do(tmp_path, number):
    with pytest.raises(StoreError) as refusal, store_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "place"))
    assert str(tmp_path / "place") in str(refusal.value)
    assert "run the same command again" in str(refusal.value)


def test_a_full_disk_leaves_the_old_record(folder):
    """The kernel refuses to let the file grow, as on a full disk."""
    folder.write_record(RECORD)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreError, match="free some space"), store_errors(folder.path):
            folder.write_record({**RECORD, "result": {"long": "x" * 10_000}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert folder.record(refuse_warning) == RECORD
