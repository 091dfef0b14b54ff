"""A real SLURM cluster on this machine, for trying things and for tests: its own munged, slurmctld and one slurmd for
each node, with GPUs by name, from the system's packages; on request its own slurmdbd and MariaDB.

Everything is in one folder that belongs to one user; nothing of the machine's own SLURM, munge or MariaDB is read or
touched. ``up`` starts what is not alive, ``down`` ends it with all its jobs; both may be killed and called again. The
kernel is asked each time what is alive; nothing is remembered. Clusters in several folders run side by side. Linux
only.
"""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm.devcluster_config import Cluster, DevclusterError, DevclusterRefused, Shape
from slurm.devcluster_daemons import daemons, make_database, require_alive, require_packages, start
from slurm.devcluster_folder import forget, hold, is_ours, link, load, prepare, root
from slurm.devcluster_processes import end, find

_JOB_PATIENCE = 5.0
_NODE_PATIENCE = 60.0
_QUESTION_PATIENCE = 15.0
_POLL_SECONDS = 0.1
_LOST = ("unknown", "down", "fail")


@dataclass(frozen=True, kw_only=True)
class DaemonStatus:
    name: str
    pid: int | None
    """``None`` if it is dead."""
    log: Path


@dataclass(frozen=True, kw_only=True)
class Status:
    folder: Path
    shape: Shape | None
    """``None`` where there is no cluster, or it was taken down."""
    daemons: tuple[DaemonStatus, ...] = ()
    nodes: Mapping[str, str] | None = None
    """State of each node in SLURM's words; ``None`` where the controller does not answer."""
    jobs: Mapping[str, int] | None = None
    """How many jobs of the queue are in each state."""

    @property
    def up(self) -> bool:
        return self.nodes is not None and all(daemon.pid is not None for daemon in self.daemons)

    @property
    def slurm_conf(self) -> Path:
        """For ``SLURM_CONF``, which tells sbatch and the others where their cluster is."""
        return self.folder / "slurm.conf"


def up(folder: Path, shape: Shape | None = None) -> Status:
    """Bring up the cluster of this folder, or whatever part of it is not alive, and return when all its nodes answer.

    Without a shape, it keeps the one it has, or gets the default one. Raises ``DevclusterRefused`` for a folder of
    somebody else or with other things in it, for a shape other than the cluster's, or for missing packages;
    ``DevclusterError`` if a daemon does not come up: then a new cluster is taken down again, and one that was there is
    left as it is.
    """
    folder = folder.resolve()
    present = load(folder)
    require_packages(accounting=(shape or (present.shape if present else Shape())).accounting)
    with hold(folder):
        present = load(folder)
        if present is not None and shape not in (None, present.shape):
            raise DevclusterRefused(
                f"the cluster in {folder} has {present.shape}, not {shape}; take it down first, or name another folder"
            )
        if present is None:
            _take_down(folder)  # what is left by an `up` or a `down` that was killed
        cluster = present or prepare(folder, shape or Shape())
        link(folder)
        try:
            _start(cluster)
        except DevclusterError:
            if present is None:
                _take_down(folder)
            raise
    return status(folder)


def down(folder: Path) -> bool:
    """End the cluster of this folder and its jobs, and forget its queue; logs stay. Returns whether there was one."""
    folder = folder.resolve()
    if not is_ours(folder):
        return False
    with hold(folder):
        there = (folder / "run").exists() or bool(find(root(folder) / "slurm.conf"))
        _take_down(folder)
    return there


def status(folder: Path) -> Status:
    """The state of the cluster of this folder. Changes nothing."""
    folder = folder.resolve()
    cluster = load(folder)
    if cluster is None:
        return Status(folder=folder, shape=None)
    alive = {process.daemon: process.pid for process in find(cluster.slurm_conf)}
    found = tuple(
        DaemonStatus(name=daemon.name, pid=alive.get(daemon.name), log=folder / "logs" / f"{daemon.name}.log")
        for daemon in daemons(cluster)
    )
    if not {"munged", "slurmctld"} <= alive.keys():  # SLURM's commands would wait for them
        return Status(folder=folder, shape=cluster.shape, daemons=found)
    return Status(folder=folder, shape=cluster.shape, daemons=found, nodes=_nodes(folder), jobs=_jobs(folder))


def _start(cluster: Cluster) -> None:
    if cluster.shape.accounting and not cluster.database.exists():
        make_database(cluster)
    for daemon in daemons(cluster):
        start(cluster, daemon)
    deadline = time.monotonic() + _NODE_PATIENCE
    while not (states := _nodes(cluster.root.resolve())) or any(map(_lost, states.values())):
        for daemon in daemons(cluster):
            require_alive(cluster, daemon)
        if time.monotonic() > deadline:
            raise DevclusterError(
                f"the daemons run, but after {_NODE_PATIENCE:.0f} seconds the nodes are {states or 'not known'}; "
                f"`sinfo -R` and the logs in {cluster.root.resolve() / 'logs'} may say why"
            )
        time.sleep(_POLL_SECONDS)


def _lost(state: str) -> bool:
    return state.endswith("*") or state.startswith(_LOST)


def _take_down(folder: Path) -> None:
    if left := end(root(folder) / "slurm.conf", patience=_JOB_PATIENCE):
        raise DevclusterError(f"these processes did not end: {', '.join(str(process.pid) for process in left)}")
    forget(folder)


def _nodes(folder: Path) -> dict[str, str] | None:
    lines = _ask(folder, "sinfo", "--noheader", "--Node", "--partition=low", "--format=%N %T")
    return None if lines is None else {line.split()[0]: line.split()[1] for line in lines}


def _jobs(folder: Path) -> dict[str, int] | None:
    lines = _ask(folder, "squeue", "--noheader", "--array", "--format=%T")
    if lines is None:
        return None
    states = [line.strip().lower() for line in lines]
    return {state: states.count(state) for state in sorted(set(states))}


def _ask(folder: Path, *command: str) -> list[str] | None:
    """The lines that one of SLURM's commands prints; ``None`` where the controller does not answer."""
    # Variables of another cluster, or of a job that this runs in, would change the answer.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SINFO", "SQUEUE"))
    }
    try:
        ended = subprocess.run(
            command,
            env={**environment, "SLURM_CONF": str(folder / "slurm.conf")},
            capture_output=True,
            text=True,
            timeout=_QUESTION_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.stdout.splitlines() if ended.returncode == 0 else None
