"""The command: exit codes, messages without tracebacks, JSON, and that bad input writes nothing."""

import errno
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from sweep_files import write

from ablations import cli, preview
from ablations.configuration import leaves
from ablations.errors import EXIT_CODES, BadInput, StoreError
from ablations.mlflow_access import tracking_address
from ablations.plan import make_plan
from ablations.stages import Stage
from ablations.sweep_file import read_sweep

SWEEP = """
name: a
title: A sweep
axes: {connector.kind: [average_pool, c_abstractor]}
seeds: [0, 1]
"""


@pytest.fixture
def ablate(monkeypatch, tmp_path):
    """Runs the command in this process, in a folder of its own; gives its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ABLATE_STORE", raising=False)
    monkeypatch.delenv("ABLATE_DEBUG", raising=False)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["ablate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        monkeypatch.delenv("ABLATE_DEBUG", raising=False)
        return int(ended.value.code or 0)

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("name: a\naxes: {connector.kinds: [x]}\n", 2, "axes.connector.kinds", "did you mean 'connector.kind'?"),
        ("name: a\naxes: {decoder.layers: [x]}\n", 2, "axes.decoder.layers.0", "allowed: an integer"),
        ("name: a\naxes:\n  connector.num_tokens: [144]\n", 3, "axes.connector.num_tokens.0", "36 patches"),
        ("name: a\naxes:\n  data.mix: [{text: 0}]\n", 3, "axes.data.mix.0", "sums to 0"),
        ("name: a\naxes:\n  image.resolution: [50]\n", 3, "axes.image.resolution.0", "divisible"),
        ("name: a\naxes:\n  decoder.layers: []\n", 3, "axes.decoder.layers", "no values"),
        ("name: a\naxes:\n  decoder.layers: [1, 1]\n", 3, "axes.decoder.layers.1", "twice"),
        ("name: a\naxes:\n  data.mix: [{text: 1}, {text: 2}]\ndesign: grid\n", 3, "axes.data.mix.1", "same"),
        ("name: a\nset:\n  data.sources: {text: {format: jsonl, paths: [no.jsonl]}}\naxes: {decoder.layers: [1]}\n", 3,
         "set.data.sources.text.paths", "matches no file"),
        ("name: a\naxes:\n  connector.num_tokens: [100, 144]\ndesign: {kind: search, arms: 2}\n", 3,
         "axes.connector.num_tokens", "36 patches"),
        ("name: a\naxes: {decoder.layers: [1, 2]}\ndesign: {kind: search, arms: 2}\n"
         "objective: {metric: eval/fourshot}\n", 4, "objective.metric", "did you mean 'eval/four_shot'?"),
        ("name: a\naxes: {decoder.layers: [1]\n", 3, "", "malformed YAML"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(ablate, capsys, tmp_path, command, text, line, key, said):
    file = write(tmp_path, text)
    before = files(tmp_path)
    assert ablate(command, file) == 2
    shown = capsys.readouterr()
    assert f"{file}:{line}:" in shown.err
    assert key in shown.err
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert files(tmp_path) == before
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "none.yaml"),
        ("plna",),
        ("plan",),
        ("plan", "a.yaml", "--workers", "0"),
        ("plan", "a.yaml", "--no-such-option"),
    ],
)
def test_a_command_that_cannot_be_understood(ablate, capsys, arguments):
    assert ablate(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "run", "status", "sync", "report"])
def test_a_file_is_no_store(ablate, capsys, tmp_path, command):
    file = write(tmp_path, SWEEP)
    assert ablate(command, file, "--store", file) == 2
    shown = capsys.readouterr().err
    assert "--store" in shown
    assert str(file) in shown
    assert file.read_text() == SWEEP


@pytest.mark.parametrize("address", ["mlruns", "./mlruns", "/dev/full", "file:///tmp/mlruns"])
@pytest.mark.parametrize(
    ("command", "option"), [("run", "--tracking-uri"), ("sync", "--tracking-uri"), ("report", "--from-mlflow")]
)
def test_a_folder_is_no_mlflow(ablate, capsys, tmp_path, command, option, address):
    file = write(tmp_path, SWEEP)
    before = files(tmp_path)
    assert ablate(command, file, option, address) == 2
    shown = capsys.readouterr().err
    assert address in shown
    assert "sqlite:///" in shown
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "address",
    ["ftp://me:secret@host/mlflow", "http+tls://me:secret@host", "postgres://me:secret@host/mlflow", "host:5000"],
)
@pytest.mark.parametrize(
    ("command", "option"), [("run", "--tracking-uri"), ("sync", "--tracking-uri"), ("report", "--from-mlflow")]
)
def test_an_mlflow_that_cannot_be_written_is_refused_before_anything_is_trained(
    ablate, capsys, tmp_path, command, option, address
):
    file = write(tmp_path, SWEEP)
    before = files(tmp_path)
    assert ablate(command, file, option, address) == 2
    shown = capsys.readouterr().err
    assert "not the address of a server or a database" in shown
    assert "secret" not in shown
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "address",
    [
        "http://host:5000",
        "https://host",
        "databricks",
        "databricks://profile",
        "sqlite:///a.db",
        "postgresql+psycopg2://me@host/a",
        "mysql+pymysql://host/a",
        "mssql://host/a",
    ],
)
def test_every_address_that_mlflow_writes_to_is_taken(address):
    assert tracking_address(address) == address


def test_an_mlflow_plugin_adds_its_own_addresses(tmp_path, monkeypatch):
    with pytest.raises(BadInput):
        tracking_address("tower://host")
    plugin = tmp_path / "tower-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: tower\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[mlflow.tracking_store]\ntower = tower:Store\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert tracking_address("tower://host") == "tower://host"


def test_plan_says_what_a_sweep_comes_to(ablate, capsys, tmp_path):
    assert ablate("plan", write(tmp_path, SWEEP)) == 0
    shown = capsys.readouterr().out
    assert "A sweep" in shown
    assert "2 arms x 2 seeds = 4 trials, 0 of them finished" in shown
    assert "kind=c_abstractor" in shown
    assert "One " not in shown
    assert not (tmp_path / "store").exists()


def test_plan_says_what_the_report_will_lack(ablate, capsys, tmp_path):
    assert ablate("plan", write(tmp_path, SWEEP.replace("[0, 1]", "[3]"))) == 0
    assert "One seed" in capsys.readouterr().out
    assert ablate("plan", write(tmp_path, SWEEP.replace("average_pool, c_abs", "c_abs") + "design: grid\n")) == 0
    assert "One arm" in capsys.readouterr().out


def plan_json(ablate, capsys, file, *options) -> dict:
    assert ablate("plan", file, "--json", *options) == 0
    return json.loads(capsys.readouterr().out)


def test_plan_as_json(ablate, capsys, tmp_path):
    file = write(tmp_path, SWEEP)
    shown = plan_json(ablate, capsys, file, "--workers", 3)
    assert shown["workers"] == 3
    assert [arm["label"] for arm in shown["arms"]] == ["baseline", "kind=c_abstractor"]
    assert {kind["kind"]: (kind["stages"], kind["shared"], kind["finished"]) for kind in shown["stages"]} == {
        "world": (1, 1, 0),
        "encoder": (2, 2, 0),
        "pretrain": (4, 0, 0),
        "evaluate": (4, 0, 0),
    }
    assert shown["jobs"] == 7
    assert shown["seconds"] > 0
    assert shown["operations"] > 1e12
    assert all(arm["parameters"] > 1e5 for arm in shown["arms"])
    assert len(shown["trials"]) == 4


def finish(store: Path, stage: Stage, seconds: float) -> None:
    """What a finished stage leaves, as far as a plan reads it."""
    from ablations.identity import identity_fields

    folder = store / stage.kind / stage.key
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "kind": stage.kind,
        "key": stage.key,
        "version": stage.version,
        "config": identity_fields(stage.config),
        "inputs": dict(stage.inputs),
        "result": {},
        "provenance": {"seconds": seconds},
    }
    (folder / "record.json").write_text(json.dumps(record))


def test_plan_knows_what_is_finished_and_learns_from_its_time(ablate, capsys, tmp_path):
    file, store = write(tmp_path, SWEEP), tmp_path / "elsewhere"
    before = plan_json(ablate, capsys, file, "--store", store)
    trial = make_plan(read_sweep(file)).trials[0]
    for stage in trial.stages:
        finish(store, stage, 1000.0)
    after = plan_json(ablate, capsys, file, "--store", store)
    assert [one["finished"] for one in after["trials"]] == [True, False, False, False]
    kinds = {kind["kind"]: kind for kind in after["stages"]}
    assert [kinds[kind]["finished"] for kind in ("world", "encoder", "pretrain", "evaluate")] == [1, 1, 1, 1]
    assert after["jobs"] == before["jobs"] - 3
    assert kinds["pretrain"]["measured"] == 3
    assert 2000 < kinds["pretrain"]["seconds"] < 4500
    assert kinds["evaluate"]["measured"] == 3


def test_a_damaged_record_does_not_stop_a_plan(ablate, capsys, tmp_path):
    file, store = write(tmp_path, SWEEP), tmp_path / "store"
    for stage in make_plan(read_sweep(file)).trials[0].stages:
        finish(store, stage, 1.0)
        (store / stage.kind / stage.key / "record.json").write_text("{")
    assert ablate("plan", file) == 0
    capsys.readouterr()


def test_the_store_can_come_from_the_environment(ablate, capsys, tmp_path, monkeypatch):
    file, store = write(tmp_path, SWEEP), tmp_path / "elsewhere"
    finish(store, make_plan(read_sweep(file)).trials[0].stages[0], 1.0)
    monkeypatch.setenv("ABLATE_STORE", str(store))
    assert plan_json(ablate, capsys, file)["stages"][0]["finished"] == 1


def test_a_search_is_planned_before_it_has_arms(ablate, capsys, tmp_path):
    text = "name: a\naxes: {decoder.layers: {low: 1, high: 4}}\ndesign: {kind: search, arms: 9}\n"
    file = write(tmp_path, text)
    assert ablate("plan", file) == 0
    assert "9 arms" in capsys.readouterr().out
    assert plan_json(ablate, capsys, file)["trials"] == []


def test_init_writes_a_sweep_that_can_be_planned(ablate, capsys, tmp_path):
    assert ablate("init", "first try.yaml") == 0
    assert "first try.yaml" in capsys.readouterr().out
    assert ablate("plan", "first try.yaml") == 0
    assert "first-try" in capsys.readouterr().out
    before = files(tmp_path)
    assert ablate("init", "first try.yaml") == 2
    assert "exists" in capsys.readouterr().err
    assert ablate("init", "sweep.txt") == 2
    assert files(tmp_path) == before
    (tmp_path / "first try.yaml").write_text("mine")
    assert ablate("init", "first try.yaml", "--force") == 0
    assert files(tmp_path) == before


def test_the_schema_has_every_key_with_its_meaning(ablate, capsys):
    assert ablate("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["seeds"]["items"] == {"type": "integer"}
    assert schema["additionalProperties"] is False
    settings = schema["properties"]["set"]["properties"]
    assert leaves().keys() <= settings.keys()
    assert settings["connector.kind"]["enum"] == ["average_pool", "attention_pool", "c_abstractor"]
    assert settings["connector.num_tokens"]["description"].startswith("Image tokens handed to the decoder")
    assert settings["connector"]["properties"]["num_tokens"] == settings["connector.num_tokens"]
    assert settings["image.acuity"]["default"] is None
    assert "connector.kind" in schema["properties"]["axes"]["properties"]
    assert "training.device" not in schema["properties"]["axes"]["properties"]
    assert "fingerprint" not in settings["data.sources"]["additionalProperties"]["properties"]


class Broken(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 4, "to continue"),
        (StoreError("the store is a file"), 5, "the store is a file"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "store/x"), 5, "store/x"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "store/x"), 5, "store/x"),
        (Broken("what"), 1, "Broken: what"),
    ],
)
def test_every_end_has_its_exit_code(ablate, capsys, tmp_path, monkeypatch, error, code, said):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(preview, "plan", fail)
    assert code in EXIT_CODES
    assert ablate("plan", "a.yaml") == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(ablate, capsys):
    assert ablate("--debug", "plan", "none.yaml") == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_names_every_command_and_exit_code(ablate, capsys):
    assert ablate("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for command in ("plan", "run", "status", "logs", "report", "sync", "dashboard", "init", "schema"):
        assert f" {command} " in shown
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


def test_the_module_is_the_command_and_says_its_version():
    command = [sys.executable, "-m", "ablations", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["ablate", version("mm-ablations")]


def test_shells_can_complete_commands():
    environment = {**os.environ, "_ABLATE_COMPLETE": "complete_bash", "COMP_WORDS": "ablate pl", "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['ablate']; from ablations.cli import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["plan"]
