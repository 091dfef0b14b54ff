"""A sweep that was submitted and left alone on a real SLURM, while all that can happen to its jobs happens.

Once here, with accounting, which has one fault more; `docs/results/README.md` has the tables of all seeds, without
accounting too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.devcluster_config import DevclusterRefused
from slurm.devcluster_daemons import require_packages

ROOT = Path(__file__).parents[2]


def test_every_trial_ends_once_and_as_if_nothing_had_happened(tmp_path):
    try:
        require_packages(accounting=True)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    drill = str(ROOT / "tests" / "cluster_drill.py")
    command = [sys.executable, drill, "--keep", str(tmp_path), "--seed", "1", "--accounting"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
