"""The emoji example writes shards that the data road reads, and what it breaks on purpose is found."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from mm1core.config import FilesConfig
from mm1core.data.corpus import run
from mm1core.data.index import Index
from mm1core.stages import CorpusStage

SCRIPT = Path(__file__).parents[2] / "examples" / "emoji" / "make_shards.py"
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")

needs_font = pytest.mark.skipif(
    not FONT.is_file() or importlib.util.find_spec("emoji") is None,
    reason="needs apt-get install fonts-noto-color-emoji and pip install emoji",
)


def make(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    size = ("--count", "5", "--renderings", "8", "--side", "32", "--per-shard", "20")
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(out), *size, *options], capture_output=True, text=True, check=False
    )


def index(shards: Path, work: Path, **options: object) -> dict:  # type: ignore[type-arg]
    work.mkdir()
    files = FilesConfig(format="webdataset", paths=(f"{shards}/*.tar",), **options)  # type: ignore[arg-type]
    return run(CorpusStage(source="captions", files=files), inputs={}, work=work, stop=lambda: None)


@needs_font
def test_shards_hold_every_rendering_and_are_the_same_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = make(tmp_path / name)
        assert made.returncode == 0, made.stderr
    assert "40 samples of 5 emoji in 2 shards" in made.stdout
    for name in ("00000.tar", "00001.tar"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    result = index(tmp_path / "a", tmp_path / "work", max_broken=0)
    assert (result["samples"], result["broken"]) == (40, 0)
    found = Index(tmp_path / "work", "captions")
    assert set(Counter(found.text(n) for n in range(40)).values()) == {8}
    assert {found.image(n).shape for n in range(40)} == {(32, 32, 3)}
    assert len({found.image(n).tobytes() for n in range(40)}) == 40
    assert all(found.image(n).std() > 5 for n in range(40))  # something is drawn


@needs_font
def test_emoji_can_be_held_out_whole(tmp_path: Path) -> None:
    make(tmp_path / "shards")
    index(tmp_path / "shards", tmp_path / "work", group="emoji", held_out=0.3)
    found = Index(tmp_path / "work", "captions")
    splits = [{found.text(n) for n in range(len(found)) if found._samples.split[n] == split} for split in range(3)]
    assert sum(map(len, splits)) == 5


@needs_font
def test_damage_is_found_where_it_was_done(tmp_path: Path) -> None:
    made = make(tmp_path / "shards", "--damage", "3")
    assert made.returncode == 0, made.stderr
    result = index(tmp_path / "shards", tmp_path / "work", max_broken=0.5)
    lines = [json.loads(line) for line in (tmp_path / "work" / "quarantine.jsonl").read_text().splitlines()]
    found = {(line["shard"], line["member"]): line["reason"] for line in lines}
    reasons = {
        "garbage image": "undecodable image",
        "missing caption": "missing caption",
        "decompression bomb": "too many pixels",
        "invalid UTF-8": "invalid UTF-8",
    }
    said = [line.split(": ") for line in made.stdout.splitlines() if ".tar 0" in line]
    assert len(said) == 8
    for place, fault in said:
        shard, key = place.split()
        if shard == "00000.tar" or (shard, key) in found:  # the end of the last shard is cut off
            assert found[shard, key] in (reasons[fault], "truncated tar")
    assert result["broken_by_reason"]["truncated tar"] == 1
    assert set(reasons.values()) <= set(found.values())


def test_a_missing_font_is_one_clear_sentence(tmp_path: Path) -> None:
    made = make(tmp_path / "shards", "--font", str(tmp_path / "no.ttf"))
    assert made.returncode == 1
    assert made.stderr.splitlines() in (
        [f"there is no font {tmp_path / 'no.ttf'}"],
        ["the names come from the package emoji, which is not installed: pip install emoji"],
    )


@needs_font
def test_shards_are_never_mixed_with_old_ones(tmp_path: Path) -> None:
    make(tmp_path)
    again = make(tmp_path, "--seed", "1")
    assert again.returncode == 1
    assert "holds 2 tar files" in again.stderr
