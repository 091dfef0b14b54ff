"""A job of two processes of which one is lost or fails in the middle of a training."""

import multiprocessing
import os
import signal
import socket
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

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["mm1core.train", "mm1core.evaluation.evaluate"])  # once for all processes
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
            port = free.getsockname()[1]
        self.processes = [SERVER.Process(target=one, args=(rank, port, payload, rank == broken)) for rank in range(2)]
        for process in self.processes:
            process.start()

    @property
    def folder(self) -> StageFolder:
        return self._store.stage(self._pretrain.kind, self._pretrain.key)

    def in_the_middle(self) -> bool:
        return self.folder.newest_checkpoint() is not None

    def codes(self) -> list[int | None]:
        for process in self.processes:
            process.join(PATIENCE)
        return [process.exitcode for process in self.processes]


def one(rank: int, port: int, payload: dict[str, Any], broken: bool) -> None:
    """What each process does."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if broken:
        Pretraining.counts = fail  # type: ignore[method-assign]
    os._exit(run(payload))  # as slurm.task does


def fail(self: Pretraining, batch: Any) -> Any:
    raise KeyError("in this process alone")


@pytest.fixture
def start(tmp_path: Path) -> Any:
    jobs = []

    def started(**options: Any) -> Job:
        jobs.append(Job(tmp_path, **options))
        return jobs[-1]

    yield started
    for process in (process for job in jobs for process in job.processes):
        process.kill()
        process.join()


@pytest.mark.parametrize(("victim", "shard"), [(0, False), (1, False), (1, True)])
def test_a_lost_process_is_nobodys_failure_and_the_job_is_tried_again(start, victim, shard):
    job = start(shard=shard)
    end = time.monotonic() + PATIENCE
    while not job.in_the_middle():
        assert time.monotonic() < end, "waited in vain for a checkpoint"
        time.sleep(0.05)
    job.processes[victim].kill()
    first, second = job.codes()
    assert (first, second) == ((-signal.SIGKILL, EXIT_ERROR) if victim == 0 else (EXIT_LOST, -signal.SIGKILL))
    assert job.folder.failure(print) is None
    if victim == 1:
        assert outcome_of(JobStatus(state=JobState.FAILED, exit_code=first), None) == Outcome.LOST


def test_a_process_that_failed_is_not_called_lost_by_the_other(start):
    job = start(broken=1)
    assert job.codes() == [EXIT_ERROR, EXIT_ERROR]
    failure = job.folder.failure(print)
    assert failure is not None
    assert (failure["class"], failure["rank"]) == ("code_error", 1)
