"""What a run gives each job of this machine, and what it imports beforehand."""

from dataclasses import replace
from pathlib import Path

import pytest
from tally import drill

from ablations.launchers import modules as imported
from ablations.launchers import share
from ablations.plan import make_plan
from ablations.sweep import Resources
from ablations.sweep_file import read_sweep
from slurm.machine import cores


@pytest.mark.parametrize(
    ("devices", "gpus", "cpus", "workers", "expected"),
    [
        ("", 0, 1, None, (1, 0, cores())),
        ("", 0, 1, 5, (1, 0, 5)),
        ("", 0, 10_000, None, (10_000, 0, 1)),
        ("0,1,2,3", 0, 1, None, (1, 0, cores())),
        ("0,1,2,3", 1, 2, None, (2, 1, 4)),
        ("0,1,2,3", 1, 1, 3, (1, 1, 3)),
        ("0,1,2,3", 1, 1, 9, (1, 1, 4)),
    ],
)
def test_jobs_share_cores_or_gpus(monkeypatch, devices, gpus, cpus, workers, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    sweep = replace(drill().sweep, resources=Resources(gpus=gpus, cpus=cpus))
    warnings: list[str] = []
    resources, capacity = share(sweep, workers, warnings.append)
    assert (resources.cpus, resources.gpus, capacity) == expected
    assert warnings == []


@pytest.mark.parametrize(
    ("devices", "wanted", "expected"),
    [
        ("", Resources(gpus=1), (0, cores())),
        ("0,1", Resources(gpus=4), (1, 2)),
        ("0,1", Resources(gpus=1, nodes=2), (1, 2)),
        ("", Resources(nodes=2), (0, cores())),
    ],
)
def test_who_asks_for_more_than_a_job_gets_here_is_told(monkeypatch, devices, wanted, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", devices)
    warnings: list[str] = []
    resources, capacity = share(replace(drill().sweep, resources=wanted), None, warnings.append)
    assert (resources.gpus, capacity) == expected
    assert len(warnings) == 1


def test_the_fork_server_imports_what_the_stages_need(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "name: x\naxes: {decoder.architecture: [llama, granite]}\ndesign: grid\nset: {encoder.objective: none}"
    )
    modules = imported(make_plan(read_sweep(file)))
    assert {"torch", "mm1core.world.build", "mm1core.train", "mm1core.evaluation.evaluate"} <= set(modules)
    assert "mm1core.objectives.pretrain_encoder" not in modules
    assert "transformers.models.llama.modeling_llama" in modules
    assert len(modules) == len(set(modules))
