"""Files are known by their content and by nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from mm1core.data.fingerprint import digest, expand, fingerprint
from mm1core.errors import ConfigError


def write(folder: Path, **contents: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return folder


def of(*paths: Path | str) -> str:
    return fingerprint(map(str, paths), key="data.sources.text.paths")


def test_folders_patterns_and_order_make_no_difference(tmp_path: Path) -> None:
    here = write(tmp_path / "here", a="1", b="2")
    there = write(tmp_path / "there" / "below", a="1", b="2")
    assert of(here / "*") == of(there / "b", there / "a") == of(tmp_path / "there" / "**" / "*", there / "a")


def test_equal_base_names_are_ordered_by_content(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", a="1"), write(tmp_path / "2", a="2")
    three, four = write(tmp_path / "3", a="2"), write(tmp_path / "4", a="1")
    assert of(one / "a", two / "a") == of(three / "a", four / "a")


def test_content_and_number_of_files_make_a_difference(tmp_path: Path) -> None:
    prints = [
        of(write(tmp_path / name, **contents) / "*")
        for name, contents in {"1": {"a": "1"}, "2": {"a": "2"}, "3": {"a": "1", "b": "1"}, "4": {"a": "11"}}.items()
    ]
    assert len(set(prints)) == 4


def test_a_cached_digest_may_stand_in(tmp_path: Path) -> None:
    folder = write(tmp_path, a="1", b="2")
    known = {path: digest(path) for path in folder.iterdir()}
    assert fingerprint([f"{folder}/*"], key="k", digest_of=known.__getitem__) == of(folder / "*")


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    write(tmp_path, **{"a[1]": "1", "a1": "2"})
    assert [path.name for path in expand([str(tmp_path / "a[1]")], key="k")] == ["a[1]"]


@pytest.mark.parametrize(
    ("pattern", "says"), [("nothing*.tar", "2 entries"), ("no/such.tar", "no folder"), ("", "folder")]
)
def test_a_pattern_that_names_no_file_is_an_error_at_its_key(tmp_path: Path, pattern: str, says: str) -> None:
    write(tmp_path, a="1", b="2")
    with pytest.raises(ConfigError, match=says) as raised:
        expand([str(tmp_path / "a"), str(tmp_path / pattern)], key="data.sources.captions.paths")
    assert raised.value.key == "data.sources.captions.paths"


def test_only_the_standard_library_is_imported() -> None:
    program = (
        "import sys; import mm1core.data.fingerprint; "
        "sys.exit(', '.join({'numpy', 'torch', 'PIL', 'tokenizers'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
