"""``ablate dashboard``: MLflow's own pages on the runs of a store, served on this machine alone until Ctrl-C.

For a search, Optuna's pages on its study are served beside them, if the extra ``dashboard`` is installed.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from ablations.errors import OK, BadInput, StudyAway
from ablations.folder import sweep_folders
from ablations.mlflow_access import TrackingError
from ablations.store import Store
from ablations.tracking import VIEW, Tracker

HOST = "127.0.0.1"
DEFAULT_PORT = 5000
_PORTS = 20
"""Ports tried, from the default one on, which other programs like as well."""
_PATIENCE = 120.0
"""Seconds in which the server must answer."""
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes for what we do not use
}


def dashboard(
    sweep: str | None, *, store: Path, port: int, tracking_uri: str | None, study_url: str | None = None
) -> int:
    """Bring MLflow up to date with a sweep (all of the store's if ``None``), print its address and serve it.

    A tracking server serves its own pages, so only its address is printed. ``study_url``: the database of a search's
    study, if it is in one. Raises ``BadInput`` for an unknown sweep or a port that is taken, ``TrackingError`` where
    MLflow cannot be written or does not start.
    """
    tracker = Tracker(tracking_uri, store)
    folders = sweep_folders(sweep, store)
    for folder in folders:
        tracker.sync(folder, check=True)
    page = _page(tracker.experiment(folders[0])) if len(folders) == 1 else "/#/experiments"
    if tracker.uri.startswith(("http://", "https://")):
        print(f"Dashboard: {tracker.uri.rstrip('/')}{page}", flush=True)
        if sweep is not None and _study(folders[0], store, port, study_url):
            print("Ctrl-C ends it.", flush=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        return OK
    number = _free_port(port, port == DEFAULT_PORT)
    with _serving(tracker.uri, store / "mlartifacts", number) as server:
        print(f"Dashboard: http://{HOST}:{number}{page}", flush=True)
        if sweep is not None:
            _study(folders[0], store, number + 1, study_url)
        print("Ctrl-C ends it.", flush=True)
        with suppress(KeyboardInterrupt):
            server.wait()
            raise TrackingError(f"the MLflow server ended with exit code {server.returncode}")
    return OK


def _study(folder: Path, store: Path, port: int, url: str | None) -> bool:
    """Serve the study of a search as well, on this port or the next that is free, and print its address."""
    if json.loads((folder / "plan.json").read_bytes())["design"] != "search":
        return False
    if find_spec("optuna_dashboard") is None:
        print('Study: not shown; Optuna\'s dashboard is an extra: pip install --editable ".[dashboard]"')
        return False
    from ablations.study_pages import serve_study
    from ablations.study_place import study_place

    try:
        address = serve_study(
            study_place(folder.name, store=Store(store), url=url), HOST, _free_port(port, others=True)
        )
    except (BadInput, StudyAway) as error:
        print(f"Study: not shown; {error}")
        return False
    print(f"Study: {address}", flush=True)
    return True


def _page(experiment: str) -> str:
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"


def _free_port(port: int, others: bool) -> int:
    """The port asked for or, if ``others`` will do, the first one from there on that is free."""
    candidates = range(port, port + _PORTS) if others else [port]
    for candidate in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            with suppress(OSError):
                probe.bind((HOST, candidate))
                return candidate
    raise BadInput(f"port {port} is in use by another program; choose another with --port")


@contextmanager
def _serving(uri: str, artifacts: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, once it answers, and end it with everything that it started."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--default-artifact-root", artifacts.resolve().as_uri()]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    log = artifacts / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=artifacts,  # where MLflow would leave files of its own
            env={**_QUIET, **os.environ},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    previous = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _wait_until_it_answers(server, port, log)
        yield server
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _end(server)


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_until_it_answers(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    patience = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < patience:
        with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2):
            return
        time.sleep(0.2)
    tail = log.read_text(errors="replace").strip().splitlines()[-1:]
    raise TrackingError(f"the MLflow server did not start: {' '.join(tail) or 'it printed nothing'}; see {log}")


def _end(server: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=5)
            return
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
