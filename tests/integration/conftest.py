"""A development cluster for the tests that submit to one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm import devcluster
from slurm.devcluster_config import DevclusterRefused, Shape
from slurm.devcluster_daemons import require_packages

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ``SLURM_CONF`` of a cluster of one node with four CPUs and one GPU, without accounting."""
    try:
        require_packages(accounting=False)
    except DevclusterRefused as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("state") / "ablate" / "devcluster"
    yield devcluster.up(folder, Shape(nodes=1, gpus=1)).slurm_conf
    devcluster.down(folder)


@pytest.fixture
def on_nodes(slurm_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs find the tests' modules, and the profile ``devcluster`` is the cluster of ``slurm_conf``."""
    monkeypatch.setenv("XDG_STATE_HOME", str(slurm_conf.parents[2]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
