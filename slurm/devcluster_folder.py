"""The folder of a development cluster: who may use it, what is in it, what a new cluster needs there.

``devcluster.json`` makes a folder one of ours, ``run/cluster.json`` says that a cluster is to be up; each is written as
a whole or not at all. ``run`` is removed when the cluster is taken down; configuration files and ``logs`` stay to be
read.
"""

import fcntl
import hashlib
import json
import os
import pwd
import random
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slurm.devcluster_config import (
    Cluster,
    DevclusterError,
    DevclusterRefused,
    Ports,
    Shape,
    gres_conf,
    slurm_conf,
    slurmdbd_conf,
)

_MARKER = "devcluster.json"
"""Keeps the job id from which a cluster that is brought up anew counts."""
_LOCK = "lock"
_JOB_IDS = 10_000
"""Job ids reserved each time, so that no id of a cluster that was taken down ever means another job."""
_PORTS = range(20_000, 32_000)
"""Below those that the kernel hands out to connections, so that a daemon that died finds its port free again."""


def root(folder: Path) -> Path:
    """The short name of a folder, a link: SLURM's files have no quotes, and a socket's path has 108 characters."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(f"/tmp/ablate-devcluster-{os.getuid()}-{digest}")


def link(folder: Path) -> None:
    """Make the short name, which whoever cleans /tmp may have removed."""
    name = root(folder)
    with suppress(FileExistsError):
        name.symlink_to(folder)
    if not name.is_symlink() or name.lstat().st_uid != os.getuid() or name.readlink() != folder:
        raise DevclusterRefused(f"{name} is in the way; it should be your own link to {folder}")


def is_ours(folder: Path) -> bool:
    """Whether there has been a cluster in this folder. Raises ``DevclusterRefused`` if it is somebody else's."""
    try:
        owner = (folder / _MARKER).stat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return False
    if owner != os.getuid():
        raise DevclusterRefused(f"the cluster in {folder} belongs to {_user(owner)}; name another folder")
    return True


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Let one process at a time bring the cluster up or down; the folder is created. The lock ends with the process
    that has it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_ours(folder) and set(os.listdir(folder)) - {_LOCK}:
        raise DevclusterRefused(f"{folder} contains other files; name a folder that is empty or does not exist")
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load(folder: Path) -> Cluster | None:
    """The cluster that is to be up here."""
    if not is_ours(folder):
        return None
    try:
        written = json.loads((folder / "run" / "cluster.json").read_bytes())
    except FileNotFoundError:
        return None
    ports = {**written["ports"], "nodes": tuple(written["ports"]["nodes"])}
    return Cluster(
        root=root(folder),
        shape=Shape(**written["shape"]),
        ports=Ports(**ports),
        user=written["user"],
        first_job_id=written["first_job_id"],
    )


def prepare(folder: Path, shape: Shape) -> Cluster:
    """Write everything that a new cluster needs, and last the file that makes it one. There must be no ``run``."""
    marker, run = folder / _MARKER, folder / "run"
    first_job_id = json.loads(marker.read_bytes())["next_job_id"] if marker.exists() else 1
    _write(marker, {"next_job_id": (first_job_id // _JOB_IDS + 1) * _JOB_IDS + 1})
    controller, accounting, *nodes = _free_ports(2 + shape.nodes)
    cluster = Cluster(
        root=root(folder),
        shape=shape,
        ports=Ports(controller=controller, accounting=accounting, nodes=tuple(nodes)),
        user=_user(os.getuid()),
        first_job_id=first_job_id,
    )
    (folder / "logs").mkdir(exist_ok=True)
    run.mkdir(mode=0o700)  # whoever reaches the sockets in it may use the cluster
    for name in ("gpus", "state", *(f"spool-{node}" for node in cluster.nodes)):
        (run / name).mkdir()
    for index in range(shape.gpus):
        (run / "gpus" / f"nvidia{index}").symlink_to("/dev/null")
    _write_private(run / "munge.key", secrets.token_bytes(128))
    (folder / "slurm.conf").write_text(slurm_conf(cluster))
    (folder / "gres.conf").write_text(gres_conf(cluster))
    _write_private(folder / "slurmdbd.conf", slurmdbd_conf(cluster).encode())
    written = {"shape": asdict(shape), "ports": asdict(cluster.ports), "user": cluster.user}
    _write(run / "cluster.json", {**written, "first_job_id": first_job_id})
    return cluster


def forget(folder: Path) -> None:
    """Remove what belongs to one cluster, so that there is none here."""
    run = folder / "run"
    (run / "cluster.json").unlink(missing_ok=True)  # first: what is left by a kill from here on is no cluster
    if run.exists():
        shutil.rmtree(run)
    name = root(folder)
    if name.is_symlink() and name.lstat().st_uid == os.getuid():
        name.unlink()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:  # all at once, so that none is found twice
        found: list[int] = []
        for port in random.sample(_PORTS, len(_PORTS)):
            with suppress(OSError):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise DevclusterError(f"fewer than {count} of the ports {_PORTS.start} to {_PORTS.stop} are free")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _write(path: Path, value: Any) -> None:
    half = path.with_name(f".{path.name}")
    half.write_text(json.dumps(value) + "\n")
    half.replace(path)


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
