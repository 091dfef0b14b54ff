"""``ablate run`` as a user types it: real models of a few steps, from the sweep file to the report and MLflow."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_contents import differences

from ablations.errors import BAD_INPUT, OK, STOPPED, TRIALS_FAILED
from ablations.lease import holder

SWEEP = """
name: small
title: A sweep of seconds
set:
  data.world.train_scenes: 120
  data.world.evaluation_scenes: 40
  encoder.training.steps: {encoder_steps}
  training.steps: {steps}
  training.checkpoint_every: 5
  evaluation.items: 8
  evaluation.tasks: [colour, text_core]
  evaluation.shots: [0, 4]
axes:
  connector.num_tokens: {tokens}
design: grid
seeds: [0]
objective: {{metric: eval/four_shot}}
{more}
"""
HEAVY = ("torch", "lightning", "transformers", "mlflow", "optuna", "plotly", "pandas", "scipy")


def write(folder: Path, *, tokens: str = "[4, 9]", steps: int = 6, encoder_steps: int = 4, more: str = "") -> Path:
    file = folder / "small.yaml"
    file.write_text(SWEEP.format(tokens=tokens, steps=steps, encoder_steps=encoder_steps, more=more))
    return file


def ablate(*arguments: object) -> subprocess.Popen[str]:
    program = "from ablations.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def run(file: Path, store: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    code, out, err = finish(ablate("run", file, "--store", store, "--json", *options))
    return code, json.loads(out) if out else {}, err


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A sweep file, the store of its finished run, and what that run printed."""
    folder = tmp_path_factory.mktemp("run")
    file = write(folder)
    code, document, messages = run(file, folder / "store")
    assert code == OK, messages
    return file, folder / "store", document


def test_a_sweep_file_becomes_scores_a_report_and_mlflow_runs(finished):
    _, store, document = finished
    assert document["states"]["done"] == 2
    page = Path(document["report"])
    assert page.is_file()
    assert len(document["summary"]["arms"]) == 2
    assert (store / "sweeps" / "small" / "synced.json").exists()
    (provenance,) = (json.loads(path.read_text())["provenance"] for path in store.glob("encoder/*/record.json"))
    assert provenance["versions"]["torch"]
    assert " run " in provenance["command"]


def test_the_second_run_reads_only(finished):
    file, store, _ = finished
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    program = (
        "import sys; from pathlib import Path; from ablations.run import run_sweep\n"
        f"code = run_sweep(Path({str(file)!r}), store=Path({str(store)!r}), workers=None, tracking_uri=None, "
        "json_output=False, quiet=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == OK
    assert done.stderr.splitlines()[-1] == "[]"
    assert "A sweep of seconds" in done.stdout
    assert "ablate dashboard small" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert {path.name for path in after if before.get(path) != after[path]} <= {"running.json"}


def test_the_model_that_won_loads_by_name(finished, tmp_path):
    """Registered twice it is one version; another trial is the next one."""
    store = tmp_path / "store"
    database = shutil.ignore_patterns("mlflow.db*", "mlartifacts")  # it names its artifacts by where they are
    shutil.copytree(finished[1], store, ignore=database)
    sweep = store / "sweeps" / "small"
    planned = [trial["key"] for trial in json.loads((sweep / "plan.json").read_text())["trials"]]
    records = [json.loads((sweep / "trials" / key / "record.json").read_text()) for key in planned]
    best, other = sorted(records, key=lambda record: -record["objective"])  # of equals the first in the plan
    call = ("register", "small", "--store", store, "--json")
    answers = []
    labels = {arm["key"]: arm["label"] for arm in json.loads((sweep / "plan.json").read_text())["arms"]}
    for arguments in (call, call, (*call, f"{labels[other['arm']]}:{other['seed']}")):
        code, out, messages = finish(ablate(*arguments))
        assert code == OK, messages
        answers.append(json.loads(out))
    assert [(answer["version"], answer["trial"]) for answer in answers] == [
        (1, best["trial"]), (1, best["trial"]), (2, other["trial"]),
    ]  # fmt: skip
    program = (
        f"import mlflow; from pathlib import Path; mlflow.set_tracking_uri('sqlite:///{store}/mlflow.db')\n"
        "from mlflow.artifacts import download_artifacts; from mm1core.model import load_model\n"
        "folder = Path(download_artifacts('models:/small@best')); load_model(folder, 'cpu')\n"
        "import hashlib; print(hashlib.sha256((folder / 'model.safetensors').read_bytes()).hexdigest())\n"
        "assert (folder / 'tokenizer.json').exists()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    weights = (store / "pretrain" / other["stages"]["pretrain"] / "work" / "model.safetensors").read_bytes()
    assert done.stdout.split() == [hashlib.sha256(weights).hexdigest()], done.stderr
    code, _, message = finish(ablate("register", "small", "nothing", "--store", store))
    assert code == BAD_INPUT
    assert "no finished trial" in message


def test_status_and_logs_of_the_real_thing(finished):
    _, store, _ = finished
    code, out, _ = finish(ablate("status", "small", "--store", store))
    assert code == OK
    assert "2 of 2" in out
    code, out, _ = finish(ablate("logs", "small", "--store", store))
    key = next(line.split()[0] for line in out.splitlines() if "num_tokens=4" in line)
    code, out, _ = finish(ablate("logs", "small", key, "--store", store))
    assert "pretrain/" in out


def test_killed_and_stopped_it_goes_on_to_the_same_records(finished, tmp_path):
    """Kill -9 of a training, of the whole dispatcher, Ctrl-C: in the end everything is as if nothing had happened."""
    _, quiet, _ = finished
    file, store = write(tmp_path), tmp_path / "store"

    def worked_on(kind: str) -> list[int]:
        """Processes that hold a stage of this kind."""
        return [owner.pid for folder in store.glob(f"{kind}/*/") if (owner := holder(folder)) is not None]

    process = ablate("run", file, "--store", store, "--workers", 1)
    until(lambda: worked_on("encoder"))
    os.kill(worked_on("encoder")[0], signal.SIGKILL)
    until(lambda: worked_on("pretrain"))
    process.kill()
    process.communicate()
    until(lambda: not worked_on("pretrain"))

    process = ablate("run", file, "--store", store, "--workers", 1)
    until(lambda: worked_on("pretrain"))
    process.send_signal(signal.SIGINT)
    code, _, messages = finish(process)
    assert code == STOPPED, messages
    assert "continues" in messages
    assert "Traceback" not in messages
    assert not worked_on("*")

    code, document, messages = run(file, store)
    assert code == OK, messages
    assert document["states"]["done"] == 2
    assert not differences(store, quiet)


def test_a_trial_that_cannot_be_trained_is_told_and_the_others_go_on(tmp_path):
    file = write(tmp_path)
    axis = "decoder.extra: [{}, {attention_bias: nonsense}]"  # Transformers refuses it when the model is built
    file.write_text(file.read_text().replace("connector.num_tokens: [4, 9]", axis))
    code, document, messages = run(file, tmp_path / "store")
    assert code == TRIALS_FAILED
    assert (document["states"]["done"], document["states"]["failed"]) == (1, 1)
    assert "Traceback" not in messages
    code, out, _ = finish(ablate("status", "small", "--store", tmp_path / "store"))
    assert code == TRIALS_FAILED
    assert "failed in pretrain" in out


def test_bad_input_writes_nothing(tmp_path):
    file = write(tmp_path, tokens="[4, 5]")
    code, _, messages = run(file, tmp_path / "store")
    assert code == BAD_INPUT
    assert "small.yaml:" in messages
    assert not (tmp_path / "store").exists()
