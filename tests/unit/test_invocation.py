"""Hints can be copied: the program as it was started, and the options that lead to the same place."""

import shlex
import sys
from pathlib import Path

import pytest

from ablations.invocation import command


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in ("ABLATE_STORE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


def program(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "ablate"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_on_the_path_goes_by_its_name_and_another_by_its_path(tmp_path, monkeypatch):
    here, other = program(tmp_path / "bin"), program(tmp_path / "other")
    monkeypatch.setenv("PATH", str(here.parent))
    monkeypatch.setattr(sys, "argv", [str(here)])
    assert command("run", "x.yaml") == "ablate run x.yaml"
    monkeypatch.setattr(sys, "argv", [str(other)])
    assert command("run", "x.yaml") == f"{other} run x.yaml"


def test_a_module_goes_by_its_interpreter(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/ablations/__main__.py"])
    assert command("status", "x") == "python -m ablations status x"


def test_only_what_differs_from_the_default_and_the_environment_is_said(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ablate"])
    assert command("logs", store=Path("store")) == "ablate logs"
    assert shlex.split(command("logs", store=Path("my store"))) == ["ablate", "logs", "--store", "my store"]
    assert command("dashboard", tracking_uri="http://a:1") == "ablate dashboard --tracking-uri http://a:1"
    monkeypatch.setenv("ABLATE_STORE", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a:1")
    assert command("dashboard", store=Path("elsewhere"), tracking_uri="http://a:1") == "ablate dashboard"
    assert command("dashboard", store=Path("store")) == "ablate dashboard --store store"
