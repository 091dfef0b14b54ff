"""What the documents say is so: links lead somewhere, commands parse, sweeps can be read, key tables are current."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from PIL import Image
from report_records import write_paper_connector

from ablations.cli import app
from ablations.plan import make_plan
from ablations.profile_file import read_profile
from ablations.reference import reference
from ablations.settings import read_base
from ablations.sweep_file import SweepFile, read_sweep
from ablations.yaml_lines import read_yaml
from reports.export import missing_browser
from slurm.profile import Profile

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "emoji" / "README.md"]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def blocks(file: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def prose(file: Path) -> str:
    return re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(file: Path) -> set[str]:
    """Headings as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def of_each(find) -> list:
    """A test parameter for everything that is found in the documents."""
    return [pytest.param(file, one, id=f"{name(file)}-{i}") for file in DOCUMENTS for i, one in enumerate(find(file))]


def test_the_key_reference_is_current():
    """`python -m ablations.reference > docs/sweep-file-keys.md` makes it so."""
    assert (ROOT / "docs" / "sweep-file-keys.md").read_text(encoding="utf-8") == reference() + "\n"


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_links_lead_somewhere(file):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        path, _, anchor = link.partition("#")
        if not re.match(r"https?:", link):
            target = (file.parent / path).resolve() if path else file
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_make_targets_exist(file):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = prose(file) + "\n".join(f"`{line}" for block in blocks(file, "") for line in block.splitlines())
    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets


def yaml_blocks(file: Path) -> list[str]:
    return blocks(file, "yaml")


@pytest.mark.parametrize(("file", "text"), of_each(yaml_blocks))
def test_yaml_can_be_planned(file, text, tmp_path):
    """A part of a sweep is completed and only read; what has no key of a sweep is a configuration to start from."""
    written = tmp_path / "written.yaml"
    written.write_text(text)
    content = read_yaml(written).content
    if not content.keys() & SweepFile.__dataclass_fields__.keys():
        assert read_base("written.yaml", read_yaml(written), ("base",))
        return
    missing = "" if "name" in content else "name: part\n"
    if not content.keys() & {"axes", "arms"}:
        missing += "axes: {decoder.layers: [1]}\n"
    folder = tmp_path / "sweeps"
    for source in (content.get("set") or {}).get("data.sources", {}).values():
        for pattern in source["paths"]:
            data = folder / pattern.replace("*", "0")
            data.parent.mkdir(parents=True, exist_ok=True)
            data.write_bytes(b"x")
    folder.mkdir(exist_ok=True)
    (folder / "sweep.yaml").write_text(missing + text)
    sweep = read_sweep(folder / "sweep.yaml")
    assert "name" not in content or make_plan(sweep).trials


def commands() -> dict[str, Any]:
    """Every verb of the real parser, those of groups by both words."""
    found: dict[str, Any] = {}

    def walk(group: Any, prefix: str) -> None:
        for verb, command in group.commands.items():
            if hasattr(command, "commands"):
                walk(command, f"{prefix}{verb} ")
            else:
                found[prefix + verb] = command

    walk(typer.main.get_command(app), "")
    return found


COMMANDS = commands()
GENERAL = {"--help", "--version", "--debug", "--install-completion", "--show-completion"}


def called(file: Path) -> list[str]:
    """Every call of `ablate` in a block of commands, or as the whole of a piece of code in the text."""
    lines = [line for block in blocks(file, "", "sh") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose(file))
    return [line for line in lines if re.match(r"\s*(\.venv/bin/)?ablate [a-z-]", line)]


@pytest.mark.parametrize(("file", "line"), of_each(called))
def test_commands_parse(file, line):
    words = shlex.split(re.split(r"\s#\s| > |\s&& ", line)[0])[1:]
    while words and words[0] in GENERAL:
        words.pop(0)
    verb = next((verb for verb in COMMANDS if words[: len(verb.split())] == verb.split()), None)
    if verb is None:
        assert words in [[], *(one.split()[:1] for one in COMMANDS)], line
        return
    try:
        COMMANDS[verb].make_context(verb, words[len(verb.split()) :])
    except Exception as error:
        if type(error).__name__ != "MissingParameter":  # what is only named has no argument
            raise


def test_every_verb_and_option_is_documented():
    """Each verb has a heading in docs/commands.md, and a table of its options below it."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    documented = {
        verb: set(re.findall(r"`(--?[a-z-]+)", "\n".join(re.findall(r"^\| (`-.*?) \|", part, re.MULTILINE))))
        for verb, part in re.findall(r"^## ablate ([a-z ]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    }
    real = {
        verb: {
            text
            for one in command.params
            if one.param_type_name == "option" and not one.hidden
            for text in (*one.opts, *one.secondary_opts)
        }
        for verb, command in COMMANDS.items()
    }
    assert documented == real


def test_every_benchmark_is_described():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert {f"python benchmarks/{file.name}" for file in (ROOT / "benchmarks").glob("*.py")} <= set(
        re.findall(r"python benchmarks/\w+\.py", text)
    )


def test_profiles_are_described_as_they_are(tmp_path):
    """Every key of a profile has a row, and the examples can be read."""
    file = ROOT / "docs" / "cluster.md"
    text = file.read_text(encoding="utf-8")
    part = text.partition("## Profiles")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(Profile.__dataclass_fields__)
    examples = [block for block in blocks(file, "") if block.startswith(("partition:", "flags:"))]
    assert len(examples) == 4
    for example in examples:
        (tmp_path / "profile.yaml").write_text(example)
        assert read_profile(tmp_path / "profile.yaml") != Profile()


@pytest.mark.skipif(bool(missing_browser()), reason="no Chromium or Chrome is installed")
def test_the_figure_of_your_own_can_be_drawn(tmp_path):
    (program,) = blocks(ROOT / "docs" / "figure-of-your-own.md", "python")
    assert len([line for line in program.splitlines() if line.strip()]) < 40
    folder = write_paper_connector(tmp_path / "store", seeds=(0, 1), items=50)
    (tmp_path / "seeds.py").write_text(program)
    command = [sys.executable, "seeds.py", str(folder), "seeds.png"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "seeds.png").size[0] > 500
