"""``ablate report``: finding the sweep, what it prints, its exit code."""

import io
import json

import pytest
from report_records import ArmRecord, write_sweep
from rich.console import Console

from ablations.conclude import set_unreadable_aside
from ablations.errors import OK, TRIALS_FAILED, BadInput, StoreError
from ablations.report import report, sweep_folder
from ablations.store import Store
from ablations.summary import print_summary


def run(sweep, store, **options):
    return report([str(sweep)], store=store, **({"output": None, "images": False, "json_output": True} | options))


@pytest.fixture
def store(tmp_path):
    low = {"0": 40.0, "4": 42.0, "8": 44.0, "text_core": 10.0}
    high = {"0": 35.0, "4": 90.0, "8": 92.0, "text_core": 80.0}
    arms = [
        ArmRecord(label="captions [b]", scores=low),
        ArmRecord(label="mixed", scores=high, baseline=True),
        ArmRecord(label="late", states={0: "missing", 1: "failed", 2: "diverged"}),
    ]
    write_sweep(tmp_path, "connector", arms, items=1000, title="Connectors")
    write_sweep(tmp_path, "clean", arms[:2], items=100)
    return tmp_path


def test_a_sweep_is_found_by_name_and_by_its_file(store, tmp_path):
    file = tmp_path / "other.yaml"
    file.write_text("name: connector\nbase: micro\n")
    assert sweep_folder("connector", store) == sweep_folder(str(file), store) == store / "sweeps" / "connector"


def test_a_file_that_has_changed_since_is_said(store, tmp_path, capsys):
    file, copy = tmp_path / "other.yaml", store / "sweeps/connector/sweep.yaml"
    file.write_text("name: connector\nbase: micro\n")
    copy.write_text(file.read_text())
    sweep_folder(str(file), store)
    sweep_folder("connector", store)
    assert capsys.readouterr().err == ""
    file.write_text("name: connector\nbase: mini\n")
    sweep_folder(str(file), store)
    assert str(copy) in capsys.readouterr().err


def test_an_unknown_sweep_names_the_nearest_one(store):
    with pytest.raises(BadInput, match="did you mean 'connector'"):
        run("conector", store)
    with pytest.raises(BadInput, match="is none yet"):
        run("connector", store / "empty")


def test_json_is_the_summary_and_failures_set_the_exit_code(store, capsys):
    assert run("connector", store) == TRIALS_FAILED
    summary = json.loads(capsys.readouterr().out)
    assert summary["name"] == "connector"
    assert run("clean", store) == OK


def test_scores_that_a_report_cannot_read_are_set_aside_for_the_next_run(store, capsys):
    folders = [Store(store).stage("evaluate", path.name) for path in sorted((store / "evaluate").iterdir())]
    for folder in folders:
        folder.write_record({**folder.record(pytest.fail), "files": folder.files()})
    scores = folders[0].work / "item_scores.npz"
    content = bytearray(scores.read_bytes())
    content[len(content) // 2] ^= 1
    scores.write_bytes(content)
    for name in ("clean", "connector"):
        run(name, store)
        set_unreadable_aside(store / "sweeps" / name, store, lambda text: None)
        set_unreadable_aside(store / "sweeps" / "never reported", store, pytest.fail)
    assert [folder.record(pytest.fail) is None for folder in folders] == [True] + [False] * (len(folders) - 1)


def test_the_report_can_go_elsewhere(store, tmp_path, capsys):
    output = tmp_path / "here" / "deep"
    assert run("clean", store, output=output, json_output=False) == OK
    assert (output / "index.html").exists()
    assert not (store / "sweeps/clean/report").exists()
    assert str(output / "index.html") in capsys.readouterr().out


def test_a_report_goes_over_a_report_alone(store, tmp_path):
    output, own = tmp_path / "site", tmp_path / "site" / "scores.csv"
    output.mkdir()
    own.write_text("mine")
    for _ in range(2):
        with pytest.raises(BadInput, match="--output"):
            run("clean", store, output=output)
        assert own.read_text() == "mine"
        (output / "index.html").write_text("<title>My own</title>")
    own.unlink()
    (output / "index.html").unlink()
    run("clean", store, output=output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    (output / "summary.json").unlink()  # as after a kill
    own.write_text("half")
    (output / ".index.html.1.tmp").write_text("half")
    run("clean", store, output=output)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file() and path.suffix != ".tmp"} == before


def test_the_terminal_shows_scores_differences_and_failures(store, capsys):
    run("connector", store)
    summary = json.loads(capsys.readouterr().out)
    screen = io.StringIO()
    print_summary(summary, console=Console(file=screen, width=80))
    text = screen.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "captions [b]" in text
    assert "42.0" in text
    assert "▼" in text
    assert "4-shot -48.0" in text.replace("\n", " ")
    assert "0/3" in text
    assert "late, seed 1: failed code_error" in text
    assert "late, seed 0" not in text


def test_what_could_have_been_seen_is_said_to_be_before_the_adjustment(tmp_path, capsys):
    arms = [ArmRecord(label="one", baseline=True), ArmRecord(label="other")]
    write_sweep(tmp_path, "alike", arms, seed_spread=1.0)
    assert run("alike", tmp_path, json_output=False) == OK
    text = " ".join(capsys.readouterr().out.split())
    assert "No arm differs significantly from the baseline (one)." in text
    assert "Before Holm's adjustment, this sweep could have seen differences from about these on, in points: 0-" in text


def test_a_sweep_without_scores_prints_without_columns(tmp_path, capsys):
    write_sweep(tmp_path, "none", [ArmRecord(label="one", states=dict.fromkeys(range(3), "missing"))])
    assert run("none", tmp_path, json_output=False) == OK
    assert "one" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_is_the_folder_s_fault(store, tmp_path):
    (tmp_path / "blocked").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="--output"):
        run("clean", store, output=tmp_path / "blocked")


def test_nothing_to_compare_is_not_nothing_differs(tmp_path, capsys):
    arms = [
        ArmRecord(label="one"),
        ArmRecord(label="two", baseline=True, states=dict.fromkeys(range(3), "failed")),
    ]
    write_sweep(tmp_path, "half", arms)
    run("half", tmp_path, json_output=False)
    assert "Nothing can be compared" in capsys.readouterr().out
    run("half", tmp_path)
    assert json.loads(capsys.readouterr().out)["comparable"] is False


def test_one_seed_left_of_several_claims_nothing_and_says_so(tmp_path, capsys):
    left = dict.fromkeys((1, 2), "missing")
    arms = [ArmRecord(label="one", states=left, scores={"0": 10.0}), ArmRecord(label="two", baseline=True, states=left)]
    write_sweep(tmp_path, "begun", arms)
    run("begun", tmp_path, json_output=False)
    text = capsys.readouterr().out
    assert "Nothing is claimed yet" in text
    assert "differs significantly" not in text
    assert "Nothing is claimed yet" in (tmp_path / "sweeps" / "begun" / "report" / "index.html").read_text()
    run("begun", tmp_path)
    assert json.loads(capsys.readouterr().out)["tested"] is False
