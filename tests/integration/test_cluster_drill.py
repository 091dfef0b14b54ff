"""A sweep that was submitted and left alone on a real SLURM, while all that can happen to its jobs happens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.devcluster_config import DevclusterRefused
from slurm.devcluster_daemons import require_packages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed")


@pytest.mark.parametrize("accounting", [False, True])
def test_every_trial_ends_once_and_as_if_nothing_had_happened(tmp_path, undisturbed, accounting):
    try:
        require_packages(accounting=accounting)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    options = ["--accounting"] if accounting else []
    command = [
        sys.executable,
        str(ROOT / "tests" / "cluster_drill.py"),
        "--keep",
        str(tmp_path),
        "--seed",
        "1",
        "--undisturbed",
        str(undisturbed),
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
