"""What is shown of a run that lasts: lines where nobody watches, warnings always, a table on a terminal."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from ablations import progress
from ablations.progress import duration, open_display
from ablations.snapshot import STATES, RunningJob, Status, last_spooled


def job(work: Path, *, kind: str = "pretrain") -> RunningJob:
    return RunningJob(
        name="trial-x", label="kind=[a] · seed 0", kind=kind, key="x", work=work, steps=40, started=time.time()
    )


def status(*jobs: RunningJob, done: int = 1) -> Status:
    return Status(name="sweep", counts={**dict.fromkeys(STATES, 0), "done": done, "waiting": 3}, running=jobs)


def test_plain_lines_tell_starts_and_ends_once(tmp_path, capsys):
    with open_display(quiet=False) as display:
        for _ in range(3):
            display.update(status(job(tmp_path)))
        display.update(status(job(tmp_path, kind="evaluate")))
        display.say("trial done")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.partition(" ")[2] for line in captured.err.splitlines()]
    assert lines == ["kind=[a] · seed 0: pretrain …", "kind=[a] · seed 0: evaluate …", "trial done"]


def test_plain_lines_say_now_and_then_how_far_things_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_QUIET_LINES", -1.0)
    (tmp_path / "spool.jsonl").write_text('{"step": 10, "time": 0, "metrics": {"encoder/loss": 0.5}}\n')
    with open_display(quiet=False) as display:
        display.update(status(job(tmp_path)))
    assert "1 of 4 trials; kind=[a] · seed 0: pretrain 10/40 loss 0.500" in capsys.readouterr().err


def test_quiet_still_warns(tmp_path, capsys):
    with open_display(quiet=True) as display:
        display.update(status(job(tmp_path)))
        display.say("trial done")
        display.warn("something is wrong")
    assert capsys.readouterr().err == "ablate: something is wrong\n"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_fits_the_terminal(tmp_path, width):
    (tmp_path / "spool.jsonl").write_text(
        '{"step": 10, "time": 0, "metrics": {"train/loss": 0.5, "train/step_seconds": 0.1}}\n'
    )
    console = Console(file=io.StringIO(), width=width, height=10, force_terminal=True)
    table = progress._Table(console, lambda picture: console.print(picture))
    table.update(status(*[job(tmp_path)] * 20))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1/4 trials" in printed
    assert "10/40" in printed
    assert "loss 0.500" in printed
    assert "14 more" in printed
    assert len(printed.splitlines()) <= 10


@pytest.mark.parametrize(
    ("content", "step"),
    [
        ("", None),
        ('{"step": 3, "metr', None),
        ('{"step": 3, "metrics": {"train/loss": 1}}\n', 3),
        ('{"step": 3, "metrics": {"train/loss": 1}}\n{"step": 4, "metrics": {"eval/colour/value/4": 0.5}}\n', 3),
        ('{"step": 3, "metrics": {"train/loss": 1}}\n[1]\nnull\n\xff', 3),
        ('{"step": 1, "metrics": {"train/loss": 1}}\n' * 1000 + '{"step": 9, "metrics": {"train/loss": 1}}\n', 9),
    ],
)
def test_the_newest_whole_line_of_training_counts(tmp_path, content, step):
    (tmp_path / "spool.jsonl").write_text(content, encoding="latin-1")
    found = last_spooled(tmp_path)
    assert (found.step if found else None) == step


def test_durations():
    assert [duration(seconds) for seconds in (0, 65.9, 3600, 90061, -3)] == [
        "0:00",
        "1:05",
        "1:00:00",
        "25:01:01",
        "0:00",
    ]
