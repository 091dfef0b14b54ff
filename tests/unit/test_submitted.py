"""What a sweep is frozen to when it is submitted: its plan, and the code that jobs run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.errors import BadInput
from ablations.folder import submission_of
from ablations.frozen import PACKAGES, freeze_code, own_code
from ablations.plan import make_plan
from ablations.profile_file import Cluster
from ablations.submitted import Submitted, load_submitted
from ablations.sweep_file import read_sweep
from slurm.profile import Profile

SWEEP = """\
name: frozen
axes:
  connector.kind: [average_pool, attention_pool]
  connector.num_tokens: [4, 9]
design: grid
constraints: [connector.num_tokens <= image.num_patches]
seeds: [0, 1]
"""


def submitted(folder: Path, code: Path) -> Submitted:
    (folder / "sweep.yaml").write_text(SWEEP)
    return Submitted(
        sweep=read_sweep(folder / "sweep.yaml"),
        profile="ours",
        cluster=Cluster(profile=Profile(partition="gpu"), environment={"SLURM_CONF": "x"}),
        workers=3,
        code=code,
        provenance={"commit": "c"},
    )


def test_a_frozen_sweep_gives_the_same_plan_whatever_becomes_of_its_file(tmp_path):
    one = submitted(tmp_path, tmp_path / "code")
    one.save(tmp_path)
    (tmp_path / "sweep.yaml").write_text("name: another\n")
    loaded = load_submitted(tmp_path)
    assert [trial.key for trial in make_plan(loaded.sweep).trials] == [
        trial.key for trial in make_plan(one.sweep).trials
    ]
    assert (loaded.cluster, loaded.workers, loaded.provenance) == (one.cluster, 3, {"commit": "c"})
    about = submission_of(tmp_path)
    assert about is not None
    assert (about["profile"], about["code"], about["commit"]) == ("ours", str(tmp_path / "code"), "c")


def test_what_was_not_submitted_or_cannot_be_read_is_refused(tmp_path):
    assert submission_of(tmp_path) is None
    with pytest.raises(BadInput, match="was not submitted"):
        load_submitted(tmp_path)
    (tmp_path / "submitted.pickle").write_bytes(b"no pickle")
    with pytest.raises(BadInput, match="submit the sweep again"):
        load_submitted(tmp_path)


def test_the_copy_of_the_code_runs_in_place_of_what_is_installed(tmp_path):
    copy = freeze_code(tmp_path)
    assert freeze_code(tmp_path) == copy != own_code()
    assert {path.name for path in copy.iterdir()} == set(PACKAGES)
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}
    command = [
        sys.executable,
        "-c",
        "import slurm.task, ablations.job, mm1core; print(slurm.__file__, mm1core.__file__)",
    ]
    printed = subprocess.run(command, env=environment, cwd=own_code(), capture_output=True, text=True, check=True)
    assert printed.stdout.split() == [str(copy / "slurm" / "__init__.py"), str(copy / "mm1core" / "__init__.py")]
