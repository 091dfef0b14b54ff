"""What a record says of the code and the process that made it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablations.frozen import own_code
from ablations.provenance import of_this_process

NEEDED = ("ablations/__init__.py", "ablations/frozen.py", "ablations/provenance.py")


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", "-C", str(folder), *names, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def work_tree(tmp_path: Path) -> Path:
    """With what a sweep asks for its provenance, committed."""
    folder = tmp_path / "tree"
    for name in NEEDED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((own_code() / name).read_bytes())
    (folder / ".gitignore").write_text("__pycache__\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=one")
    return folder


def asked(work_tree: Path, store: Path) -> dict[str, Any]:
    """By a process that runs the code of ``work_tree``."""
    code = "import json, pathlib, sys; from ablations.provenance import provenance; "
    code += "print(json.dumps(provenance(['ablate', 'run'], store=pathlib.Path(sys.argv[1]))))"
    environment = {**os.environ, "PYTHONPATH": str(work_tree), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, str(store)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_code_as_it_was_committed_needs_no_more_than_the_commit(work_tree, tmp_path):
    found = asked(work_tree, tmp_path / "store")
    assert found["commit"] == git(work_tree, "rev-parse", "HEAD").strip()
    assert (found["dirty"], found["diff"]) == (False, None)
    assert not (tmp_path / "store").exists()


def test_changed_code_can_be_had_again_from_the_commit_and_what_the_store_keeps(work_tree, tmp_path):
    (work_tree / NEEDED[1]).open("a").write("# changed\n")
    (work_tree / "ablations" / "new module.py").write_text("NEW = 1\n")
    (work_tree / "notes").write_text("no code\n")
    found = asked(work_tree, tmp_path / "store")
    assert found["dirty"]
    assert asked(work_tree, tmp_path / "store")["diff"] == found["diff"]

    again = tmp_path / "again"
    git(tmp_path, "clone", "--quiet", str(work_tree), str(again))
    git(again, "apply", str(tmp_path / "store" / "code" / f"{found['diff']}.diff"))
    for name in (*NEEDED, "ablations/new module.py"):
        assert (again / name).read_text() == (work_tree / name).read_text()
    assert not (again / "notes").exists()


def test_a_record_names_the_job_of_slurm_that_made_it(monkeypatch):
    assert of_this_process()["versions"]["torch"][0].isdigit()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert of_this_process()["slurm_job"] == "12"
    for name, value in {"ARRAY_JOB_ID": "9", "ARRAY_TASK_ID": "3", "RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert (of_this_process()["slurm_job"], of_this_process()["slurm_restarts"]) == ("9_3", 2)
