"""Several processes that train one model take the steps that one would take."""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny
import tiny_world
import torch
from safetensors.torch import load_file

from mm1core import checkpoints, spool
from mm1core.config import DataConfig, EvaluationConfig, ImageConfig, OptimisationConfig, check_shares
from mm1core.errors import ConfigError, Interrupted
from mm1core.fit import fit
from mm1core.ranks import current, joined
from mm1core.train import run

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["mm1core.train", "mm1core.evaluation.evaluate"])  # once for all processes
STEPS, ROWS = 5, 8
CLOCK = ("_per_second", "step_seconds", "_cpu_percent", "_memory_gib")


def train(
    work: Path,
    *,
    stop_at: int | None = None,
    frozen: bool = False,
    captions: float = 0.6,
    optimizer: str = "muon",
    **training: Any,
) -> None:
    """In float64, so that the order of sums hardly shows. Who stops is the last process alone."""
    torch.set_default_dtype(torch.float64)
    ranks = current()
    data = replace(tiny.DATA, mix={"captions": captions, "text": 1 - captions})
    training = {"steps": STEPS, "rows_per_step": ROWS, "data": data, **training}
    model = tiny.model(encoder=replace(tiny.ENCODER, frozen=frozen)).double()
    learner = tiny.learner(model, ranks, **training)
    calls = iter(range(1, 1000))

    def stop() -> str | None:
        return "preempted" if next(calls) == stop_at and ranks.index == ranks.count - 1 else None

    fit(
        learner,
        steps=training["steps"],
        optimisation=OptimisationConfig(
            warmup_steps=2,
            gradient_clip=0.5,
            weight_decay=0.1,
            optimizer=optimizer,  # type: ignore[arg-type]
        ),
        training=tiny.pretrain_stage(**training).training,
        work=work,
        stop=stop,
        ranks=ranks,
    )
    whole = learner.whole()
    if whole is not None:
        torch.save(whole.state_dict(), work / "weights.pt")


def stage(work: Path, *, world: str, **training: Any) -> None:
    """The whole stage in float64, with scores on the way and a model in the end."""
    torch.set_default_dtype(torch.float64)
    asked = tiny.pretrain_stage(
        image=ImageConfig(resolution=24, patch_size=8),
        data=DataConfig(mix={"synthetic_captions": 0.8, "text": 0.2}, row_tokens=120),
        rows_per_step=4,
        intermediate=EvaluationConfig(tasks=("colour", "text_core"), shots=(0,), every=2, intermediate_items=6),
        **training,
    )
    result = run(asked, inputs={"world": Path(world)}, work=work, stop=lambda: None)
    if current().first:
        (work / "result.json").write_text(json.dumps(result))


def together(processes: int, work: Path, **options: Any) -> None:
    """``train``, or ``stage`` where there is a world, in so many processes."""
    work.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [SERVER.Process(target=one, args=(rank, processes, port, work, options)) for rank in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
    assert [process.exitcode for process in started] == [0] * processes


def one(rank: int, processes: int, port: int, work: Path, options: dict[str, Any]) -> None:
    """What each process does."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined(), suppress(Interrupted):
        (stage if "world" in options else train)(work, **options)


def metrics(work: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line["metrics"].items() if not name.endswith(CLOCK)}
        for line in spool.read(work / "spool.jsonl")
    ]


def assert_close(one: Path, other: Path) -> None:
    assert len(metrics(one)) >= STEPS
    for first, second in zip(metrics(one), metrics(other), strict=True):
        assert first.keys() == second.keys()
        for name in first:
            assert second[name] == pytest.approx(first[name], rel=1e-6), name  # the spool is in float32


def assert_same_weights(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    assert weights.keys() == others.keys()
    for name, other_weights in others.items():
        assert other_weights.dtype == torch.float64
        torch.testing.assert_close(other_weights, weights[name], rtol=1e-10, atol=1e-10)


def assert_equal(one: Path, other: Path) -> None:
    assert_close(one, other)
    assert_same_weights(torch.load(one / "weights.pt"), torch.load(other / "weights.pt"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """What one process comes to, with these options."""
    folder = tmp_path_factory.mktemp("alone")

    @cache
    def trained(**options: Any) -> Path:
        work = folder / "-".join(["train", *map(str, options.values())])
        together(1, work, **options)
        return work

    return trained


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize(("processes", "parts"), [(2, 1), (4, 2)])
def test_they_take_the_steps_that_one_takes(tmp_path, alone, processes, parts, shard):
    together(processes, tmp_path, micro_batches=parts, shard=shard)
    assert_equal(alone(), tmp_path)


@pytest.mark.parametrize(
    ("options", "shard"),
    [
        ({"optimizer": "adamw", "captions": 0.1}, False),
        ({"optimizer": "adamw", "captions": 0.1}, True),
        ({"frozen": True}, True),
    ],
)
def test_so_they_do_with_adamw_few_pictures_or_a_frozen_encoder(tmp_path, alone, options, shard):
    """With few pictures there are steps without any, at which the encoder's weights do not even decay."""
    together(2, tmp_path, micro_batches=2, shard=shard, **options)
    assert_equal(alone(**options), tmp_path)


def test_what_any_of_them_is_told_stops_all_and_another_number_goes_on(tmp_path, alone):
    together(2, tmp_path, stop_at=3)
    assert not (tmp_path / "weights.pt").exists()
    state = checkpoints.load_newest(tmp_path / "checkpoints")
    assert state is not None
    assert state["step"] == 3
    together(1, tmp_path)
    assert_equal(alone(), tmp_path)


def test_what_was_sharded_goes_on_in_one_process_and_back(tmp_path, alone):
    together(2, tmp_path, shard=True, stop_at=2)
    together(1, tmp_path, stop_at=1)
    together(2, tmp_path, shard=True)
    assert_equal(alone(), tmp_path)


def test_a_sharded_stage_scores_and_leaves_a_whole_model(tmp_path):
    world = str(tiny_world.build_world(tmp_path / "world"))
    together(1, tmp_path / "one", world=world)
    together(2, tmp_path / "two", world=world, shard=True)
    assert_close(tmp_path / "one", tmp_path / "two")
    assert [line["step"] for line in spool.read(tmp_path / "two" / "spool.jsonl") if scored(line)] == [2, 4, 6]
    assert_same_weights(*(load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")))
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[1] == {**results[0], "loss": pytest.approx(results[0]["loss"], rel=1e-6)}


def scored(line: dict[str, Any]) -> bool:
    return any(name.startswith("eval/") for name in line["metrics"])


def test_rows_that_cannot_be_shared_out_are_refused():
    training = tiny.pretrain_stage(rows_per_step=8, micro_batches=2).training
    check_shares(training, 4)
    with pytest.raises(ConfigError, match="multiple of 6") as refused:
        check_shares(training, 3)
    assert refused.value.key == "training.rows_per_step"
