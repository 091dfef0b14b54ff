"""The daemons of a development cluster: how each is started, and how one knows that it works.

All of them run as the user who starts them, listen on the loopback interface or on a socket in the cluster's folder,
and write a log there.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm.devcluster_config import Cluster, DevclusterError, DevclusterRefused
from slurm.devcluster_processes import find, marks

_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Debian keeps daemons where an ordinary user's shell does not look."""
_PATIENCE = 60.0
"""Seconds within which a daemon must work. It usually takes one; this allows for a busy machine."""
_LINGER = 5.0
"""Seconds for which a killed daemon may hold its port, on a busy machine."""
_POLL_SECONDS = 0.05
_LOOKS = 3
"""A daemon that goes to the background can be missed: its first process ended, its second began after the look."""
_LOG_LINES = 8
_PACKAGES = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sinfo": "slurm-wlm"}
_ACCOUNTING_PACKAGES = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}


@dataclass(frozen=True, kw_only=True)
class Daemon:
    name: str
    command: Sequence[str]
    address: Path | int
    """Where it listens: a socket, or a port of the loopback interface."""


def require_packages(*, accounting: bool) -> None:
    """Raises ``DevclusterRefused`` where a program is missing, with the command that installs it."""
    needed = {**_PACKAGES, **(_ACCOUNTING_PACKAGES if accounting else {})}
    missing = [program for program in needed if shutil.which(program, path=_PATH) is None]
    if missing:
        packages = " ".join(sorted({needed[program] for program in missing}))
        raise DevclusterRefused(
            f"not installed: {', '.join(missing)}; on Debian or Ubuntu: "
            f"sudo apt-get install --no-install-recommends {packages}"
        )


def daemons(cluster: Cluster) -> tuple[Daemon, ...]:
    """Every daemon, each after those it needs."""
    munged = Daemon(
        name="munged",
        command=[
            "munged",
            "--force",  # it wants a socket that every user can reach; ours is for one
            f"--key-file={cluster.munge_key}",
            f"--socket={cluster.munge_socket}",
            f"--pid-file={cluster.run}/munged.pid",
            f"--seed-file={cluster.run}/munged.seed",
            f"--log-file={cluster.log('munged')}",
        ],
        address=cluster.munge_socket,
    )
    controller = Daemon(
        name="slurmctld",
        command=["slurmctld", "-f", str(cluster.slurm_conf)],
        address=cluster.ports.controller,
    )
    nodes = [
        Daemon(
            name=f"slurmd-{name}",
            command=["slurmd", "-N", name, "-f", str(cluster.slurm_conf)],
            address=port,
        )
        for name, port in zip(cluster.nodes, cluster.ports.nodes, strict=True)
    ]
    accounting = _accounting(cluster) if cluster.shape.accounting else ()
    return (munged, *accounting, controller, *nodes)


def _accounting(cluster: Cluster) -> tuple[Daemon, ...]:
    database = Daemon(
        name="mariadbd",
        command=[
            "mariadbd",
            "--no-defaults",
            *_as_user(cluster),
            f"--datadir={cluster.database}",
            f"--tmpdir={cluster.database}",  # it empties this when it starts; in /tmp, that of other clusters as well
            f"--socket={cluster.database_socket}",
            f"--pid-file={cluster.run}/mariadbd.pid",
            # Reached by its socket alone, which is in a folder of this user's: no network, and no passwords.
            "--skip-networking",
            "--skip-grant-tables",
        ],
        address=cluster.database_socket,
    )
    bookkeeper = Daemon(name="slurmdbd", command=["slurmdbd"], address=cluster.ports.accounting)
    return (database, bookkeeper)


def make_database(cluster: Cluster) -> None:
    """Make an empty database. It gets its name when it is complete, and is made in a folder of this call's own: what a
    killed call left behind may still be writing to another."""
    name = "mariadb-install-db"
    half = tempfile.mkdtemp(prefix="database-", dir=cluster.run)
    with cluster.log(name).open("ab") as output:
        ended = subprocess.run(
            [
                _program(name),
                "--no-defaults",
                *_as_user(cluster),
                f"--datadir={half}",
                f"--tmpdir={half}",
                "--skip-test-db",
            ],
            env=_environment(cluster, name),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    if ended.returncode != 0:
        raise DevclusterError(f"{name} ended with exit code {ended.returncode}.\n{_tail(cluster.log(name))}")
    Path(half).rename(cluster.database)


def start(cluster: Cluster, daemon: Daemon) -> None:
    """Start one daemon, if it is not alive, and wait until it listens. Raises ``DevclusterError`` with the end of its
    log where it does not."""
    deadline = time.monotonic() + _LINGER
    while not _alive(cluster, daemon) and _answers(daemon.address):  # a killed one may still be on its way out
        if time.monotonic() > deadline:
            raise DevclusterError(
                f"{daemon.name} cannot start: another program listens at {daemon.address}; end that program, or take "
                "the cluster down and up again, which looks for free ports"
            )
        time.sleep(_POLL_SECONDS)
    if not _alive(cluster, daemon):
        _spawn(cluster, daemon)
    deadline = time.monotonic() + _PATIENCE
    while not _answers(daemon.address):
        require_alive(cluster, daemon)
        if time.monotonic() > deadline:
            raise DevclusterError(
                f"{daemon.name} does not answer after {_PATIENCE:.0f} seconds.\n{_tail(cluster.log(daemon.name))}"
            )
        time.sleep(_POLL_SECONDS)


def require_alive(cluster: Cluster, daemon: Daemon) -> None:
    """Raises ``DevclusterError`` with the end of its log where a daemon has ended."""
    for _ in range(_LOOKS):
        if _alive(cluster, daemon):
            return
        time.sleep(_POLL_SECONDS)
    raise DevclusterError(f"{daemon.name} ended instead of starting.\n{_tail(cluster.log(daemon.name))}")


def _spawn(cluster: Cluster, daemon: Daemon) -> None:
    """Each daemon but MariaDB goes to the background by itself, in a moment and with the same environment."""
    with cluster.log(daemon.name).open("ab") as output:
        subprocess.Popen(
            [_program(daemon.command[0]), *daemon.command[1:]],
            cwd=cluster.run,
            env=_environment(cluster, daemon.name),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C on the terminal is not for it
        )


def _environment(cluster: Cluster, name: str) -> dict[str, str]:
    """Only what a daemon needs: what this shell happens to hold must not change what jobs see."""
    return {
        "PATH": _PATH,
        "MYSQL_UNIX_PORT": str(cluster.database_socket),  # where slurmdbd finds MariaDB
        **marks(cluster.slurm_conf, name),
    }


def _alive(cluster: Cluster, daemon: Daemon) -> bool:
    return any(process.daemon == daemon.name for process in find(cluster.slurm_conf))


def _answers(address: Path | int) -> bool:
    by_port = isinstance(address, int)
    with socket.socket(socket.AF_INET if by_port else socket.AF_UNIX) as probe:
        return probe.connect_ex(("127.0.0.1", address) if by_port else str(address)) == 0


def _as_user(cluster: Cluster) -> list[str]:
    """MariaDB runs as root only where it is told to."""
    return ["--user=root"] if cluster.user == "root" else []


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    return "\n".join([f"The end of {log.resolve()}:", *(f"  {line}" for line in lines or ["(it is empty)"])])
