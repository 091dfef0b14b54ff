"""MLflow is written beside the dispatcher: asked without waiting, answered in time, ended with whoever asked."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tally import drill

from ablations.background_sync import BackgroundSync
from ablations.plan import plan_document
from ablations.store import Store, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep with a plan and nothing done."""
    made = Store(tmp_path).sweep("drill")
    made.mkdir(parents=True)
    write_json(made / "plan.json", plan_document(drill()))
    return made


def test_it_writes_when_asked_and_not_before(folder, tmp_path):
    sync = BackgroundSync(folder, store=tmp_path, uri=None)
    assert not sync.busy
    assert not (tmp_path / "mlflow.db").exists()
    started = time.monotonic()
    sync.request()
    sync.request()
    assert time.monotonic() - started < 2.0  # it does not wait for MLflow to be imported
    assert sync.busy
    sync.finish()
    assert sync.problem == ""
    assert not sync.busy
    assert (tmp_path / "mlflow.db").exists()
    sync.close()


def test_now_and_then_is_not_every_time(folder, tmp_path, monkeypatch):
    sync = BackgroundSync(folder, store=tmp_path, uri=None)
    sync.now_and_then()
    assert not sync.busy
    monkeypatch.setattr("ablations.background_sync._SECONDS_APART", 0.0)
    sync.now_and_then()
    assert sync.busy
    sync.close()


def test_what_goes_wrong_is_told_in_one_line_and_it_can_be_asked_again(folder, tmp_path):
    sync = BackgroundSync(folder, store=tmp_path, uri="nonsense://nowhere")
    for _ in range(2):
        sync.request()
        sync.finish()
        assert sync.problem.startswith("MLflow at nonsense://nowhere")  # its user reads it, so no name of a class
        assert "\n" not in sync.problem
    sync.close()


def test_it_ends_with_whoever_asked(folder, tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from ablations.background_sync import BackgroundSync\n"
        f"sync = BackgroundSync(Path({str(folder)!r}), store=Path({str(tmp_path)!r}), uri=None); sync.request()\n"
        "print(sync._process.pid, flush=True); time.sleep(60)"
    )
    asker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert asker.stdout is not None
    pid = int(asker.stdout.readline())
    assert os.path.exists(f"/proc/{pid}")
    asker.kill()
    asker.communicate()
    end = time.monotonic() + 30
    while _alive(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
