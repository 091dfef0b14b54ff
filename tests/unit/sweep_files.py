"""Writes sweep files for tests, and reads them."""

from pathlib import Path
from textwrap import dedent

from ablations.plan import Plan, make_plan
from ablations.sweep import Sweep
from ablations.sweep_file import read_sweep


def write(folder: Path, text: str, *, name: str = "sweep.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text), encoding="utf-8")
    return file


def read(folder: Path, text: str) -> Sweep:
    return read_sweep(write(folder, text))


def planned(folder: Path, text: str) -> Plan:
    return make_plan(read(folder, text))
