"""A training process killed with SIGKILL at any moment and started again ends with the bytes of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mm1core import spool

BODY = """
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[3])
import tiny_training as tiny

from mm1core.config import DataConfig, ImageConfig
from mm1core.train import run

stage = tiny.pretrain_stage(
    image=ImageConfig(resolution=24, patch_size=8),
    data=DataConfig(mix={"synthetic_captions": 0.4, "interleaved": 0.4, "text": 0.2}, row_tokens=120),
    steps=40,
    checkpoint_every=5,
)
print(run(stage, inputs={"world": Path(sys.argv[1])}, work=Path(sys.argv[2]), stop=lambda: None))
"""
WORLD = """
import sys
from pathlib import Path

from mm1core.config import WorldConfig
from mm1core.stages import WorldStage
from mm1core.world.build import run

stage = WorldStage(world=WorldConfig(train_scenes=60, evaluation_scenes=30))
run(stage, inputs={}, work=Path(sys.argv[1]), stop=lambda: None)
"""
UNIT_TESTS = str(Path(__file__).parents[1] / "unit")


def start(world: Path, work: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BODY, str(world), str(work), UNIT_TESTS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    work = tmp_path_factory.mktemp("world")
    subprocess.run([sys.executable, "-c", WORLD, str(work)], check=True)
    return work


def test_killed_at_random_moments_and_started_again_equals_undisturbed(world, tmp_path):
    undisturbed = start(world, tmp_path / "undisturbed")
    expected, errors = undisturbed.communicate(timeout=300)
    assert undisturbed.returncode == 0, errors
    work, chance, kills = tmp_path / "killed", random.Random(0), 0
    for _ in range(2):
        process = start(world, work)
        goal = len(spool.read(work / "spool.jsonl")) + chance.randint(3, 9)
        while process.poll() is None and len(spool.read(work / "spool.jsonl")) < goal:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills > 0
    last = start(world, work)
    found, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert found == expected
    name = "model.safetensors"
    assert (work / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    steps = [[line["step"] for line in spool.read(path / "spool.jsonl")] for path in (work, tmp_path / "undisturbed")]
    assert steps[0] == steps[1] == list(range(1, 41))
