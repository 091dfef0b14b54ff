"""Indexing real files: what is whole is read back exactly, what is broken is counted, named and left out."""

import io
import json
import os
import shutil
import struct
import tarfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shard_files import caption, pairs, picture, write_lines, write_tar

from mm1core.config import FilesConfig
from mm1core.data import corpus
from mm1core.data.corpus import run
from mm1core.data.fingerprint import fingerprint
from mm1core.data.index import Index
from mm1core.errors import ConfigError, DataError, Interrupted
from mm1core.stages import CorpusStage


def index(work: Path, paths: object, *, stop=lambda: None, source: str = "captions", **options: object) -> dict:  # type: ignore[no-untyped-def,type-arg]
    work.mkdir(exist_ok=True)
    options = {"format": "webdataset", "max_broken": 1.0, **options}
    files = FilesConfig(paths=(str(paths),), **options)  # type: ignore[arg-type]
    return run(CorpusStage(source=source, files=files), inputs={}, work=work, stop=stop)


def index_lines(work: Path, path: Path, **options: object) -> dict:  # type: ignore[type-arg]
    return index(work, path, source="text", format="jsonl", **options)


def quarantine(work: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (work / "quarantine.jsonl").read_text().splitlines()]


def reasons(work: Path) -> list[tuple[str, str]]:
    return [(entry["member"], entry["reason"]) for entry in quarantine(work)]


def every_sample(work: Path) -> dict[str, tuple[str, bytes]]:
    found = Index(work, "captions")
    return {found.key(n): (found.text(n), found.image(n).tobytes()) for n in range(len(found))}


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_samples_are_read_back_exactly(tmp_path: Path) -> None:
    write_tar(tmp_path / "00000.tar", pairs(range(10)))
    write_tar(tmp_path / "00001.tar", pairs(range(10, 15)))
    result = index(tmp_path / "work", tmp_path / "*.tar")
    assert (result["samples"], result["broken"], result["files"]) == (15, 0, 2)
    assert result["train"] + result["validation"] + result["test"] == 15
    assert every_sample(tmp_path / "work") == {
        f"{n:09d}": (caption(n), decoded(picture(n)).tobytes()) for n in range(15)
    }
    assert Index(tmp_path / "work", "captions").name(12) == "captions 00001.tar:000000012"
    assert quarantine(tmp_path / "work") == []


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_and_long_names_are_read(tmp_path: Path, format: int) -> None:
    folder = "a-folder-with-a-long-name/" * (3 if format == tarfile.USTAR_FORMAT else 12)
    members = [(f"{folder}{name}", content) for name, content in pairs(range(5))]
    write_tar(tmp_path / "a.tar", members, format=format)
    index(tmp_path / "work", tmp_path / "a.tar")
    assert list(every_sample(tmp_path / "work")) == [f"{folder}{n:09d}" for n in range(5)]


def test_a_tar_written_by_tar_with_a_global_header_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in pairs(range(3)):
        (folder / name).write_bytes(content)
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "made here"}) as tar:
        tar.add(folder, arcname="./in")
    assert index(tmp_path / "work", tmp_path / "a.tar")["samples"] == 3
    assert reasons(tmp_path / "work") == []


@pytest.mark.parametrize(
    ("kind", "suffix", "mode"),
    [
        ("PNG", "png", "RGB"),
        ("WEBP", "webp", "RGB"),
        ("JPEG", "jpg", "RGB"),
        ("JPEG", "JPEG", "L"),
        ("PNG", "png", "P"),
    ],
)
def test_image_formats(tmp_path: Path, kind: str, suffix: str, mode: str) -> None:
    content = picture(1, kind=kind, mode=mode)
    write_tar(tmp_path / "a.tar", [(f"1.{suffix}", content), ("1.txt", b"one")])
    index(tmp_path / "work", tmp_path / "a.tar")
    assert np.array_equal(Index(tmp_path / "work", "captions").image(0), decoded(content))


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(file, "PNG")
    write_tar(tmp_path / "a.tar", [("1.png", file.getvalue()), ("1.txt", b"nothing")])
    index(tmp_path / "work", tmp_path / "a.tar")
    assert (Index(tmp_path / "work", "captions").image(0) == 255).all()


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), 0x8000, np.uint16)).save(file, "PNG")
    write_tar(tmp_path / "a.tar", [("1.png", file.getvalue()), ("1.txt", b"grey")])
    index(tmp_path / "work", tmp_path / "a.tar")
    assert (Index(tmp_path / "work", "captions").image(0) == 0x80).all()


def test_captions_come_from_txt_then_from_json(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "a.tar",
        [
            ("0.png", picture(0)),
            ("0.json", b'{"caption": "from json"}'),
            ("0.txt", b" from txt\n"),
            ("1.json", b'{"url": "x", "caption": "caf\\u00e9"}'),
            ("1.png", picture(1)),
            ("2.png", picture(2)),
            ("2.json", b'{"caption": null, "text": "other field"}'),
            ("3.cls", b"7"),
            ("._0.png", b"left by another system"),
        ],
    )
    index(tmp_path / "work", tmp_path / "a.tar")
    assert [text for text, _ in every_sample(tmp_path / "work").values()] == ["from txt", "café", "other field"]
    assert reasons(tmp_path / "work") == []


def bomb() -> bytes:
    """A PNG whose header promises 50,000 x 50,000 pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1000)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def test_broken_samples_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    good = picture(0)
    broken = {
        "garbage": [("garbage.png", b"not an image" * 20), ("garbage.txt", b"x")],
        "cut": [("cut.png", picture(3)[:-60]), ("cut.txt", b"x")],
        "bomb": [("bomb.png", bomb()), ("bomb.txt", b"x")],
        "gif": [("gif.png", b"GIF89a" + good), ("gif.txt", b"x")],
        "uncaptioned": [("uncaptioned.png", good)],
        "empty": [("empty.png", good), ("empty.txt", b" \n")],
        "latin": [("latin.png", good), ("latin.txt", b"caf\xe9")],
        "object": [("object.png", good), ("object.json", b"{not json")],
        "deep": [("deep.png", good), ("deep.json", b"[" * 100_000)],
        "number": [("number.png", good), ("number.json", b'{"caption": 3}')],
        "half": [("half.png", good), ("half.json", b'{"caption": "\\ud800"}')],
        "blind": [("blind.txt", b"x")],
    }
    members = [member for entry in broken.values() for member in entry]
    write_tar(tmp_path / "a.tar", [*pairs(range(3)), *members, *pairs(range(3, 6))])
    result = index(tmp_path / "work", tmp_path / "a.tar")
    assert dict(reasons(tmp_path / "work")) == {
        "garbage": "undecodable image",
        "cut": "undecodable image",
        "bomb": "too many pixels",
        "gif": "undecodable image",
        "uncaptioned": "missing caption",
        "empty": "missing caption",
        "latin": "invalid UTF-8",
        "object": "invalid JSON",
        "deep": "invalid JSON",
        "number": "missing caption",
        "half": "invalid UTF-8",
        "blind": "missing image",
    }
    assert result["samples"] == 6
    assert result["broken"] == 12
    assert result["broken_by_reason"] == dict(Counter(reason for _, reason in reasons(tmp_path / "work")))
    assert {entry["shard"] for entry in quarantine(tmp_path / "work")} == {"a.tar"}
    assert len(every_sample(tmp_path / "work")) == 6


def test_the_limit_of_pixels_is_the_configured_one(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [*pairs([1], side=8), *pairs([2], side=9)])
    assert index(tmp_path / "work", tmp_path / "a.tar", max_pixels=64)["samples"] == 1
    assert reasons(tmp_path / "work") == [("000000002", "too many pixels")]


def test_a_second_image_of_a_sample_is_reported_and_the_first_is_used(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.png", picture(1)), ("1.jpg", picture(2)), ("1.txt", b"x")])
    index(tmp_path / "work", tmp_path / "a.tar")
    assert reasons(tmp_path / "work") == [("1.jpg", "duplicate member")]
    assert np.array_equal(Index(tmp_path / "work", "captions").image(0), decoded(picture(1)))


# Damaged tar files


def ten_samples(tmp_path: Path) -> tuple[bytes, list[tarfile.TarInfo]]:
    """A tar file of ten samples, and its members."""
    path = write_tar(tmp_path / "whole.tar", pairs(range(10)))
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    content = path.read_bytes()
    path.unlink()
    return content, members


@pytest.mark.parametrize("cut", range(0, 22_000, 331))
def test_a_truncated_tar_keeps_what_is_whole(tmp_path: Path, cut: int) -> None:
    content, members = ten_samples(tmp_path)
    end = members[-1].offset_data + 512  # of the last member with its padding
    cut = min(cut, end + 511)  # with a whole block of zeros after it, the archive is closed
    (tmp_path / "a.tar").write_bytes(content[:cut])
    whole = {member.name for member in members if member.offset_data + member.size <= cut}
    complete = {key for key in map("{:09d}".format, range(10)) if {f"{key}.png", f"{key}.txt"} <= whole}
    kept: set[str] = set()
    with suppress(DataError):  # nothing is left
        index(tmp_path / "work", tmp_path / "a.tar")
        kept = set(every_sample(tmp_path / "work"))
    # The sample in which the file ends may go, even if only its last, unneeded member is torn.
    assert complete - kept <= {max(complete, default="")}
    assert kept <= complete
    assert [entry["reason"] for entry in quarantine(tmp_path / "work")] in (["truncated tar"], ["not a tar"])


def test_a_damaged_header_costs_its_own_sample(tmp_path: Path) -> None:
    content, members = ten_samples(tmp_path)
    image, caption_after = members[9], members[10]  # of sample 3
    start, end = image.offset, caption_after.offset
    (tmp_path / "a.tar").write_bytes(content[:start] + b"\xff" * 512 + content[start + 512 :])
    index(tmp_path / "work", tmp_path / "a.tar")
    assert set(every_sample(tmp_path / "work")) == {f"{n:09d}" for n in range(10) if n != 3}
    assert image.name == "000000003.png"
    assert reasons(tmp_path / "work") == [
        ("000000003", "missing image"),
        (f"bytes {start} to {end} of {len(content)}", "damaged tar"),
    ]


def test_two_archives_in_one_file_are_read(tmp_path: Path) -> None:
    first, second = write_tar(tmp_path / "1", pairs(range(3))), write_tar(tmp_path / "2", pairs(range(3, 5)))
    (tmp_path / "a.tar").write_bytes(first.read_bytes() + second.read_bytes())
    assert index(tmp_path / "work", tmp_path / "a.tar")["samples"] == 5
    assert reasons(tmp_path / "work") == []


def test_lost_stretches_count_for_the_samples_they_had_room_for(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", pairs(range(50)))
    (tmp_path / "1.tar").write_bytes(np.random.default_rng(0).bytes((tmp_path / "0.tar").stat().st_size))
    with pytest.raises(DataError, match=r"5\d of 10\d samples"):
        index(tmp_path / "work", tmp_path / "*.tar", max_broken=0.3)
    assert [entry["reason"] for entry in quarantine(tmp_path / "work")] == ["not a tar"]


def test_a_compressed_tar_says_what_to_do(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        archive.add(__file__, arcname="1.txt")
    with pytest.raises(DataError, match="nothing is left"):
        index(tmp_path / "work", tmp_path / "a.tar")
    assert "gunzip" in quarantine(tmp_path / "work")[0]["detail"]


# Too much is broken


def test_above_the_share_the_error_says_how_many_why_where_and_which_key(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [*pairs(range(8)), ("x.png", b"?"), ("x.txt", b"x"), ("y.png", picture(0))])
    with pytest.raises(DataError) as raised:
        index(tmp_path / "work", tmp_path / "a.tar", max_broken=0.1)
    message = str(raised.value)
    for part in (
        "2 of 10 samples",
        "1 undecodable image",
        "1 missing caption",
        str(tmp_path / "work" / "quarantine.jsonl"),
        "raise data.sources.captions.max_broken to 0.2",
    ):
        assert part in message
    assert index(tmp_path / "work", tmp_path / "a.tar", max_broken=0.2)["samples"] == 8


def test_files_of_another_content_than_fingerprinted_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", pairs(range(3)))
    known = fingerprint([str(path)], key="x")
    assert index(tmp_path / "work", path, fingerprint=known)["samples"] == 3
    write_tar(tmp_path / "a.tar", pairs(range(4)))
    with pytest.raises(DataError, match="changed"):
        index(tmp_path / "other", path, fingerprint=known)


def test_a_pattern_without_files_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.captions\.paths"):
        index(tmp_path / "work", tmp_path / "*.tar")


# JSON lines


def test_lines_are_read_back_and_broken_ones_named(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "a.jsonl",
        [
            b'\xef\xbb\xbf{"text": "first"}',
            {"text": "  naïve ☕ "},
            b"",
            b'{"text": "caf\xe9"}',
            b'{"text": ',
            b'["text"]',
            {"other": 1},
            {"text": ""},
            {"text": 5},
            b'{"text": "\\ud83d"}',
            {"text": "last", "more": [1, 2]},
        ],
    )
    result = index_lines(tmp_path / "work", path)
    found = Index(tmp_path / "work", "text")
    assert [found.text(n) for n in range(len(found))] == ["first", "naïve ☕", "last"]
    assert found.name(2) == "text a.jsonl:line 11"
    assert reasons(tmp_path / "work") == [
        ("line 4", "invalid UTF-8"),
        ("line 5", "invalid JSON"),
        ("line 6", "invalid JSON"),
        ("line 7", "missing text"),
        ("line 8", "missing text"),
        ("line 9", "missing text"),
        ("line 10", "invalid UTF-8"),
    ]
    assert result["samples"] == 3


def test_equal_lines_share_a_split(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"text {n % 20}"} for n in range(100)])
    index_lines(tmp_path / "work", path, held_out=0.3)
    found = Index(tmp_path / "work", "captions")
    split = {name: {found.text(n) for n in found.numbers(name)} for name in ("train", "validation", "test")}
    assert sum(map(len, split.values())) == 20


# Splits


def test_shares_of_the_splits(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"text": f"text {n}"} for n in range(4000)])
    result = index_lines(tmp_path / "work", path, held_out=0.2)
    assert abs(result["test"] - 800) < 100
    assert abs(result["validation"] - 800) < 100
    assert index_lines(tmp_path / "all", path, held_out=0)["train"] == 4000


def test_a_sample_stays_in_its_split_whatever_else_there_is(tmp_path: Path) -> None:
    write_tar(tmp_path / "one.tar", pairs(range(40)))
    write_tar(tmp_path / "two.tar", pairs(range(39, -1, -3)))
    for name in ("one", "two"):
        index(tmp_path / name, tmp_path / f"{name}.tar", held_out=0.3)
    one, two = Index(tmp_path / "one", "captions"), Index(tmp_path / "two", "captions")
    for split in ("train", "validation", "test"):
        keys = {one.key(n) for n in one.numbers(split)}
        assert {two.key(n) for n in two.numbers(split)} <= keys


def test_a_group_is_never_torn_apart(tmp_path: Path) -> None:
    members = []
    for number in range(60):
        members += [
            (f"{number}.png", picture(number)),
            (f"{number}.json", json.dumps({"caption": "x", "of": f"group {number % 12}"}).encode()),
        ]
    write_tar(tmp_path / "a.tar", members)
    index(tmp_path / "work", tmp_path / "a.tar", group="of", held_out=0.3)
    found = Index(tmp_path / "work", "captions")
    groups = [{int(found.key(n)) % 12 for n in found.numbers(split)} for split in ("train", "validation", "test")]
    assert sum(map(len, groups)) == 12


def test_a_sample_without_its_group_is_broken(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", [("1.png", picture(1)), ("1.txt", b"x"), *pairs([2])])
    index(tmp_path / "work", tmp_path / "a.tar", group="n")
    assert reasons(tmp_path / "work") == [("1", "missing group")]


def test_an_empty_split_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", pairs([1]))
    index(tmp_path / "work", tmp_path / "a.tar", held_out=0)
    with pytest.raises(DataError, match="test split"):
        Index(tmp_path / "work", "captions").numbers("test")


# Identity and resume


def test_the_folder_of_the_files_makes_no_difference(tmp_path: Path) -> None:
    for place in ("here", "there"):
        for name, numbers in (("a", range(5)), ("b", range(5, 9))):
            folder = tmp_path / place / (name if place == "here" else f"{9 - ord(name) % 9}")
            folder.mkdir(parents=True)
            write_tar(folder / "00000.tar", pairs(numbers))  # the same base name in two folders
    results = [index(tmp_path / f"{place} work", tmp_path / place / "*" / "*.tar") for place in ("here", "there")]
    assert results[0] == results[1]
    assert (tmp_path / "here work/index.npz").read_bytes() == (tmp_path / "there work/index.npz").read_bytes()


class StopAfter:
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self) -> str | None:
        self.calls -= 1
        return "preempted" if self.calls < 0 else None


def test_a_stopped_index_goes_on_and_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        write_tar(tmp_path / f"{number}.tar", [*pairs(range(10 * number, 10 * number + 10)), (f"x{number}.txt", b"x")])
    undisturbed = index(tmp_path / "undisturbed", tmp_path / "*.tar")

    scanned: list[str] = []
    scan = corpus.scan

    def noting(path: Path, *args: object, **options: object) -> object:
        scanned.append(path.name)
        return scan(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(corpus, "scan", noting)
    for calls in (0, 2, 7, 8):
        with pytest.raises(Interrupted, match="preempted"):
            index(tmp_path / "work", tmp_path / "*.tar", stop=StopAfter(calls))
    for part in (tmp_path / "work/parts").glob("*.npz"):
        part.write_bytes(part.read_bytes()[:-40])  # as after a full disk
        break
    assert index(tmp_path / "work", tmp_path / "*.tar") == undisturbed
    assert len(scanned) < 4 + 4 + 2, "files that were done are not read again, but for the torn one"
    for name in ("index.npz", "index.json", "quarantine.jsonl"):
        assert (tmp_path / "work" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"index.npz", "index.json", "quarantine.jsonl"}


def test_files_that_went_away_or_changed_are_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", pairs(range(3)))
    index(tmp_path / "work", path)
    shutil.move(path, tmp_path / "b.tar")
    with pytest.raises(DataError, match=r"a\.tar was indexed and cannot be read"):
        Index(tmp_path / "work", "captions").text(0)
    write_tar(path, pairs(range(20)))
    with pytest.raises(DataError, match="bytes"):
        Index(tmp_path / "work", "captions").text(0)
    content = bytearray((tmp_path / "b.tar").read_bytes())
    content[512:600] = bytes(88)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"captions a\.tar:000000000 was intact"):
        Index(tmp_path / "work", "captions").image(0)


def test_many_files_are_not_held_open(tmp_path: Path) -> None:
    for number in range(100):
        write_tar(tmp_path / f"{number:03d}.tar", pairs([number]))
    index(tmp_path / "work", tmp_path / "*.tar")
    found = Index(tmp_path / "work", "captions")
    before = len(os.listdir("/proc/self/fd"))
    assert {found.text(n) for n in [*range(100), *range(100)]} == {caption(n) for n in range(100)}
    assert len(os.listdir("/proc/self/fd")) < before + 70
