"""A throw-away PostgreSQL server for tests, from Debian's packages: loopback alone, in a folder of its own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Postgres:
    """A server with one empty database, ``mlflow``."""

    def __init__(self, folder: Path, programs: Path, port: int) -> None:
        self._folder, self._programs, self._port = folder, programs, port
        self.uri = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/mlflow"
        self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--pgdata", str(folder / "data"))
        self.start()
        self._run("createdb", "--host=127.0.0.1", f"--port={port}", "--username=postgres", "mlflow")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._control("start", "--wait", f"--log={self._folder / 'log'}", f"--options={options}")

    def die(self) -> None:
        """Without a checkpoint: the next start recovers from the log, as after a crash."""
        self._control("stop", "--mode=immediate")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", *arguments, "--pgdata", str(self._folder / "data"))

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL refuses to be run by root.
        other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*other, str(self._programs / program), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # not a pipe, which the server would hold open
            stderr=subprocess.DEVNULL,
        )
        log = self._folder / "log"
        assert done.returncode == 0, f"{program}: {log.read_text() if log.exists() else done.returncode}"


@contextmanager
def postgres(port: int) -> Iterator[Postgres]:
    """A server that is gone afterwards. Skips the test where PostgreSQL is not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not installed:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgres-"))  # pytest's own are closed to other users
    if os.geteuid() == 0:
        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    server = Postgres(folder, installed[-1].parent, port)
    try:
        yield server
    finally:
        server.die()
        shutil.rmtree(folder)
