"""A job of two processes of which one is lost or fails in the middle of a training."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
from fixed_configuration import fixed_config

from ablations.crew import EXIT_LOST
from ablations.job import job_payload, run
from ablations.outcome import Outcome, outcome_of
from ablations.stages import Chains
from ablations.store import StageFolder, Store
from mm1core.train import Pretraining
from slurm.launcher import EXIT_ERROR, JobState, JobStatus

PATIENCE = 240.0
FIXED = fixed_config()
CONFIG = replace(
    FIXED,
    encoder=replace(FIXED.encoder, objective="none"),
    data=replace(FIXED.data, world=replace(FIXED.data.world, train_scenes=60, evaluation_scenes=30)),
    decoder=tiny.DECODER,
    training=replace(FIXED.training, steps=10_000_000, rows_per_step=2, log_every=1, checkpoint_every=5, device="cpu"),
)


class Job:
    """Two processes that train ``CONFIG`` together; ``broken`` is the one whose data are at fault."""

    def __init__(self, root: Path, *, shard: bool = False, broken: int | None = None) -> None:
        config = replace(CONFIG, training=replace(CONFIG.training, shard=shard))
        world, self._pretrain, _ = Chains().chain(config, seed=0)
        self._store = Store(root)
        payload = job_payload(
            [world, self._pretrain], store=root, marker=None, attempt=1, threads=1, provenance={"commit": None}
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, json.dumps(payload), json.dumps(rank == broken)],
                env={
                    **os.environ,
                    **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
                    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"},
                },
            )
            for rank in range(2)
        ]

    @property
    def folder(self) -> StageFolder:
        return self._store.stage(self._pretrain.kind, self._pretrain.key)

    def in_the_middle(self) -> bool:
        return self.folder.newest_checkpoint() is not None

    def codes(self) -> list[int]:
        return [process.wait(PATIENCE) for process in self.processes]


@pytest.fixture
def start(tmp_path: Path) -> Any:
    jobs = []

    def started(**options: Any) -> Job:
        jobs.append(Job(tmp_path, **options))
        return jobs[-1]

    yield started
    for process in (process for job in jobs for process in job.processes):
        process.kill()
        process.wait()


@pytest.mark.parametrize(("victim", "shard"), [(0, False), (1, False), (1, True)])
def test_a_lost_process_is_nobodys_failure_and_the_job_is_tried_again(start, victim, shard):
    job = start(shard=shard)
    end = time.monotonic() + PATIENCE
    while not job.in_the_middle():
        assert time.monotonic() < end, "waited in vain for a checkpoint"
        time.sleep(0.05)
    job.processes[victim].send_signal(signal.SIGKILL)
    first, second = job.codes()
    assert (first, second) == ((-signal.SIGKILL, EXIT_ERROR) if victim == 0 else (EXIT_LOST, -signal.SIGKILL))
    assert job.folder.failure() is None
    if victim == 1:
        assert outcome_of(JobStatus(state=JobState.FAILED, exit_code=first), None) == Outcome.LOST


def test_a_process_that_failed_is_not_called_lost_by_the_other(start):
    job = start(broken=1)
    assert job.codes() == [EXIT_ERROR, EXIT_ERROR]
    failure = job.folder.failure()
    assert failure is not None
    assert (failure["class"], failure["rank"]) == ("code_error", 1)


if __name__ == "__main__":
    if json.loads(sys.argv[2]):

        def counts(self: Pretraining, batch: Any) -> Any:
            raise KeyError("of this process alone")

        Pretraining.counts = counts  # type: ignore[method-assign]
    code = run(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # as slurm.task does
