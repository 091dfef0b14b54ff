"""The dashboard as a person meets it: MLflow's pages and Optuna's, opened in a browser."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import CHROMIUM, FLAGS
from mlflow_server import free_port
from search_world import World, rate
from tracked_folder import TrackedFolder

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")


@contextmanager
def dashboard(store: Path, sweep: str, *options: str) -> Iterator[list[str]]:
    """What ``ablate dashboard`` prints, while it serves."""
    command = [sys.executable, "-m", "ablations", "dashboard", sweep, "--store", str(store), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said: list[str] = []
        while not said or not said[-1].startswith("Ctrl-C"):
            line = process.stdout.readline()
            assert line, said
            said.append(line)
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def shown(address: str, folder: Path) -> str:
    """The page when its scripts have run, and a picture of it in ``folder``."""
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    picture = f"--screenshot={folder}/page.png"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--window-size=1600,1000", "--dump-dom", picture]
    return subprocess.run([*command, address], capture_output=True, text=True, timeout=180, check=True).stdout


def address(said: list[str], what: str) -> str:
    (line,) = (line for line in said if line.startswith(what))
    return line.split()[1]


@pytest.mark.parametrize("kind", ["journal", "database"])
def test_a_search_has_a_page_of_its_study_which_is_for_looking(tmp_path, kind):
    url = None if kind == "journal" else f"sqlite:///{tmp_path}/studies.db"
    world = World(tmp_path, score=rate, sampler="tpe", arms=6, study_url=url)
    world.run()
    file = world.folder / "study.journal" if url is None else tmp_path / "studies.db"
    before = file.read_bytes()
    with dashboard(world.store.root, "searched", *([] if url is None else ["--study", url])) as said:
        page = address(said, "Study:")
        assert page.startswith("http://127.0.0.1:")
        server = page.partition("/dashboard")[0]
        with urllib.request.urlopen(f"{server}/api/studies", timeout=60) as answer:
            (study,) = json.load(answer)["study_summaries"]
        assert study["study_name"].partition("#")[0].endswith("searched")
        with urllib.request.urlopen(f"{server}/api/studies/{study['study_id']}?after=0", timeout=60) as answer:
            assert len(json.load(answer)["trials"]) == 6
        wanted = urllib.request.Request(f"{server}/api/studies/{study['study_id']}", method="DELETE")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(wanted, timeout=60)
        with urllib.request.urlopen(address(said, "Dashboard:").partition("#")[0], timeout=60) as answer:
            assert b"MLflow" in answer.read()
        if url is None:
            assert study["study_name"] in shown(page, tmp_path)
    assert file.read_bytes() == before
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server, timeout=5)


def test_the_trials_of_a_sweep_are_a_table_with_names_axes_and_scores(tmp_path):
    made = TrackedFolder(tmp_path / "store")
    for trial in made.trials:
        made.run(trial)
    with dashboard(made.store, "connector", "--port", str(free_port())) as said:
        page = shown(address(said, "Dashboard:"), tmp_path)
    for trial in made.trials:
        assert f"{trial.arm.label} · seed {trial.seed}" in page
    for column in ("axis.connector.kind", "ablations.seed", "eval/few_shot/mean", "eval/four_shot"):
        assert column in page
