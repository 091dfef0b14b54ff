"""The outage drill: eight trials write while the tracking server, its database and the syncing process are killed.

In the end MLflow must equal the spools, point for point. A real MLflow server on a real PostgreSQL.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from mlflow import MlflowClient
from mlflow_server import free_port, serving
from postgres import Postgres, postgres
from tracked_folder import TrackedFolder

from ablations.background_sync import BackgroundSync

TESTS = Path(__file__).parents[1]
STEPS = 300
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}


def write_spools(made: TrackedFolder) -> list[subprocess.Popen[bytes]]:
    """All trials at once; every third of them is cut back on the way, as by a resume."""
    writers = []
    for number, trial in enumerate(made.trials):
        path = made.spool(trial, "pretrain")
        path.parent.mkdir(parents=True, exist_ok=True)
        cut = [str(120 + 10 * number), str(90 + 5 * number)] if number % 3 == 0 else []
        command = [sys.executable, str(TESTS / "spool_writer.py"), str(path), str(STEPS), *cut]
        writers.append(subprocess.Popen(command, env=ENVIRONMENT))
    return writers


class Outage:
    """What dies, one after the other, and comes back."""

    def __init__(self, folder: Path, port: int, database: Postgres, sync: BackgroundSync) -> None:
        self._folder, self._port, self._database, self._sync = folder, port, database, sync
        self._served = ExitStack()
        self.start_server()

    def start_server(self) -> None:
        self._server = self._served.enter_context(serving(self._folder, self._port, backend=self._database.uri))

    def kill_server(self) -> None:
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def stop_server(self) -> None:
        """It takes connections and never answers."""
        os.killpg(self._server.pid, signal.SIGSTOP)

    def continue_server(self) -> None:
        os.killpg(self._server.pid, signal.SIGCONT)

    def kill_database(self) -> None:
        self._database.die()

    def start_database(self) -> None:
        self._database.start()

    def kill_sync(self) -> None:
        process = self._sync._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        self._served.close()


FAULTS = (
    "kill_server", "start_server", "kill_sync", "kill_database", "start_database", "stop_server", "continue_server",
    "kill_sync", "kill_server", "start_server",
)  # fmt: skip


def test_eight_trials_and_everything_dies_under_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    made = TrackedFolder(tmp_path / "store")
    assert len(made.trials) == 8
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with postgres(free_port()) as database:
        sync = BackgroundSync(made.folder, store=made.store, uri=uri)
        outage = Outage(tmp_path / "server", port, database, sync)
        writers = write_spools(made)
        problems = set()
        try:
            for fault in FAULTS:
                until = time.monotonic() + 2.0
                while time.monotonic() < until:
                    sync.request()
                    problems.add(sync.problem)
                    time.sleep(0.1)
                getattr(outage, fault)()
            assert [writer.wait() for writer in writers] == [0] * 8  # not one noticed
            for trial in made.trials:
                made.finish(trial)
            sync.close()
            catch_up(made, uri)
            assert_equal_to_the_spools(made, uri)
        finally:
            sync.close()
            outage.close()
            for writer in writers:
                writer.kill()
    assert len(problems - {""}) > 0, "no fault was felt: the drill drilled nothing"


def catch_up(made: TrackedFolder, uri: str) -> None:
    """``ablate sync`` from two processes at once, and once more."""
    command = [sys.executable, "-m", "ablations", "sync", "--store", str(made.store), "--tracking-uri", uri]
    both = [subprocess.Popen(command, env=ENVIRONMENT) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    again = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert "up to date" in again.stdout


def assert_equal_to_the_spools(made: TrackedFolder, uri: str) -> None:
    known = MlflowClient(tracking_uri=uri)
    experiment = known.get_experiment_by_name(made.plan.sweep.name)
    assert experiment is not None
    found = known.search_runs([experiment.experiment_id], "tags.`ablations.kind` = 'trial'")
    assert sorted(run.data.tags["ablations.trial"] for run in found) == sorted(trial.key for trial in made.trials)
    for trial in made.trials:
        (run,) = (run for run in found if run.data.tags["ablations.trial"] == trial.key)
        there = Counter(
            (metric, point.step, point.value)
            for metric in run.data.metrics
            for point in known.get_metric_history(run.info.run_id, metric)
        )
        assert there == Counter(made.expected(trial))
        assert len(there) == 4 * STEPS + 4
        assert run.info.status == "FINISHED"
