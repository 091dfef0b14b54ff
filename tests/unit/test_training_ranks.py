"""Several processes that train one model take the steps that one would take."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
import torch

from mm1core import checkpoints, spool
from mm1core.config import OptimisationConfig, check_shares
from mm1core.errors import ConfigError, Interrupted
from mm1core.fit import fit
from mm1core.ranks import current, joined

STEPS, ROWS = 5, 8
CLOCK = ("_per_second", "step_seconds", "_cpu_percent", "_memory_gib")


def train(work: Path, *, stop_at: int | None = None, steps: int = STEPS, **training: Any) -> None:
    """In float64, so that the order of sums hardly shows. Who stops is the last process alone."""
    torch.set_default_dtype(torch.float64)
    ranks = current()
    model = tiny.model().double()
    learner = tiny.learner(model, steps=steps, rows_per_step=ROWS, **training)
    learner._ranks = ranks
    calls = iter(range(1, 1000))

    def stop() -> str | None:
        return "preempted" if next(calls) == stop_at and ranks.index == ranks.count - 1 else None

    fit(
        learner,
        steps=steps,
        optimisation=OptimisationConfig(warmup_steps=2, gradient_clip=0.5),
        training=tiny.pretrain_stage(steps=steps, rows_per_step=ROWS, **training).training,
        work=work,
        stop=stop,
        ranks=ranks,
    )
    if ranks.first:
        torch.save(model.state_dict(), work / "weights.pt")


def together(processes: int, work: Path, **options: Any) -> None:
    """``train`` in so many processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        environment = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        command = [sys.executable, __file__, str(work), json.dumps(options)]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    for process in started:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed


def metrics(work: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line["metrics"].items() if not name.endswith(CLOCK)}
        for line in spool.read(work / "spool.jsonl")
    ]


def assert_close(one: Path, other: Path) -> None:
    assert len(metrics(one)) == STEPS
    for first, second in zip(metrics(one), metrics(other), strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert second[name] == pytest.approx(first[name], rel=1e-6), name  # the spool is in float32
    weights = torch.load(one / "weights.pt")
    for name, other_weights in torch.load(other / "weights.pt").items():
        assert other_weights.dtype == torch.float64
        torch.testing.assert_close(other_weights, weights[name], rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("alone")
    together(1, work)
    return work


@pytest.mark.parametrize(("processes", "parts"), [(2, 1), (4, 2)])
def test_they_take_the_steps_that_one_takes(tmp_path, alone, processes, parts):
    together(processes, tmp_path, micro_batches=parts)
    assert_close(alone, tmp_path)


def test_what_any_of_them_is_told_stops_all_and_another_number_goes_on(tmp_path, alone):
    together(2, tmp_path, stop_at=3)
    assert not (tmp_path / "weights.pt").exists()
    state = checkpoints.load_newest(tmp_path / "checkpoints")
    assert state is not None
    assert state["step"] == 3
    together(1, tmp_path)
    assert_close(alone, tmp_path)


def test_rows_that_cannot_be_shared_out_are_refused():
    training = tiny.pretrain_stage(rows_per_step=8, micro_batches=2).training
    check_shares(training, 4)
    with pytest.raises(ConfigError, match="multiple of 6") as refused:
        check_shares(training, 3)
    assert refused.value.key == "training.rows_per_step"


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined():
        try:
            train(Path(sys.argv[1]), **json.loads(sys.argv[2]))
        except Interrupted:
            sys.exit(0)
