"""What ``ablate status`` and ``ablate logs`` tell of a sweep's folders."""

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tally import drill

from ablations.attempts import Attempt, AttemptsFile
from ablations.ended import EndedFile
from ablations.errors import OK, TRIALS_FAILED, BadInput
from ablations.lease import acquire
from ablations.logs import logs
from ablations.overview import read_overview
from ablations.plan import plan_document, save_plan
from ablations.snapshot import STATES
from ablations.status import status
from ablations.stop_request import request_stop
from ablations.store import Store, write_json

PLAN = drill(arms=3, seeds=2)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = Store(tmp_path).sweep("drill")
    folder.mkdir(parents=True)
    write_json(folder / "plan.json", plan_document(replace(PLAN, sweep=replace(PLAN.sweep, title="A title"))))
    return tmp_path


def end(store: Path, number: int, state: str, **more: Any) -> None:
    trial = PLAN.trials[number]
    record = {"trial": trial.key, "state": state, "objective": 0.5, "metrics": {}, "failure": None, **more}
    EndedFile(store / "sweeps" / "drill").note(record)


def listed(number: int) -> dict[str, Any]:
    trial = PLAN.trials[number]
    stages = [{"kind": stage.kind, "key": stage.key, "steps": 40} for stage in trial.stages[2:]]
    return {"name": f"trial-{trial.key}", "label": "arm 0 · seed 0", "stages": stages, "started": time.time()}


def list_running(store: Path, number: int) -> None:
    write_json(store / "sweeps" / "drill" / "running.json", {"jobs": [listed(number)]})


def write_log(store: Path, number: int, attempt: int, text: str) -> Path:
    folder = store / "sweeps" / "drill" / "trials" / PLAN.trials[number].key
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"attempt-{attempt}.log"
    path.write_text(text)
    return path


def as_json(store: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = status("drill", store=store, json_output=True)
    return code, json.loads(capsys.readouterr().out)


def test_a_sweep_that_has_not_begun_waits(store, capsys):
    code, document = as_json(store, capsys)
    assert code == OK
    assert document["states"] == {**dict.fromkeys(STATES, 0), "waiting": 6}
    assert document["running_in"] is None


def test_ended_trials_are_counted_and_failures_told(store, capsys):
    end(store, 0, "done")
    end(store, 1, "pruned")
    failure = {"class": "code_error", "error": "KeyError: 'x'", "stage": "training/abc", "traceback_tail": ""}
    end(store, 2, "failed", failure=failure)
    end(store, 3, "diverged", failure={**failure, "class": "diverged"})
    code, document = as_json(store, capsys)
    assert code == TRIALS_FAILED
    ended = dict.fromkeys(("done", "pruned", "diverged", "failed"), 1)
    assert document["states"] == {**dict.fromkeys(STATES, 0), **ended, "waiting": 2}
    assert document["trials"][2]["failure"]["error"] == "KeyError: 'x'"
    assert document["trials"][0]["label"] == "arm 0"
    assert status("drill", store=store, json_output=False) == TRIALS_FAILED
    printed = capsys.readouterr().out
    assert "4 of 6" in printed
    assert "KeyError: 'x'" in printed
    assert PLAN.trials[2].key in printed


def test_attempts_that_were_cut_short_are_told(store, capsys):
    attempts = AttemptsFile(store / "sweeps" / "drill")
    attempts.note(Attempt(job="trial-a", number=1, outcome="killed", left=1))
    attempts.begin()
    attempts.note(Attempt(job="trial-a", number=2, outcome="killed", left=1))
    attempts.note(Attempt(job="trial-b", number=1, outcome="out_of_memory", left=1))
    attempts.note(Attempt(job="trial-a", number=3, outcome="killed", left=1))
    attempts.note(Attempt(job="trial-a", number=4, outcome="done"))
    assert as_json(store, capsys)[1]["cut_short"] == {"killed": 2, "out_of_memory": 1}
    status("drill", store=store, json_output=False)
    assert "2 killed, 1 out of memory" in capsys.readouterr().out


def test_failures_of_an_earlier_run_are_tried_again_in_this_one(store, capsys):
    keys = [PLAN.trials[number].stages[2].key for number in range(2)]
    attempts = AttemptsFile(store / "sweeps" / "drill")
    for number, key in enumerate(keys):
        failure = {"class": "code_error", "error": "E", "stage": f"tally/{key}", "traceback_tail": ""}
        end(store, number, "failed", failure=failure)
        attempts.note(Attempt(job=f"trial-{number}", number=1, outcome="failed", stage=key, failure=failure))
    assert as_json(store, capsys)[1]["states"]["failed"] == 2
    attempts.forget([keys[0]], jobs=["trial-0"])
    assert as_json(store, capsys)[1]["states"]["failed"] == 1
    attempts.begin()
    code, document = as_json(store, capsys)
    assert (code, document["states"]["waiting"]) == (OK, 6)


def submitted_and_looked(store: Path, **look: Any) -> None:
    folder = store / "sweeps" / "drill"
    write_json(folder / "submitted.json", {"profile": "ours", "submitted": 1.0, "gpus": 0, "poll_seconds": 1.0})
    write_json(folder / "look.json", {"looked": time.time(), "finished": False, "problem": "", **look})


def test_why_jobs_have_not_begun_is_told_in_slurms_words(store, capsys):
    submitted_and_looked(store, reasons={"Priority": 2}, unsent=3, held_up="QOSMaxSubmit")
    status("drill", store=store, json_output=False)
    printed = capsys.readouterr().out
    assert "Priority 2" in printed
    assert "3 (QOSMaxSubmit)" in printed
    assert as_json(store, capsys)[1]["submission"]["unsent"] == 3


def test_a_submitted_sweep_is_finished_when_a_look_says_so_or_all_went_well(store):
    def finished() -> bool:
        return read_overview(store / "sweeps" / "drill", store).finished

    submitted_and_looked(store)
    for number in range(5):
        end(store, number, "done")
    assert not finished()
    failure = {"class": "code_error", "error": "E", "stage": "tally/x", "traceback_tail": ""}
    end(store, 5, "failed", failure=failure)
    assert not finished()  # it may be tried again
    submitted_and_looked(store, finished=True)
    assert finished()
    end(store, 5, "done")
    submitted_and_looked(store)
    assert finished()


def test_a_problem_of_the_last_look_that_is_over_is_not_told(store, capsys):
    submitted_and_looked(store, problem="3 jobs failed in the same way")
    status("drill", store=store, json_output=False)
    assert "same way" in capsys.readouterr().out
    for number in range(6):
        end(store, number, "done")
    status("drill", store=store, json_output=False)
    assert "same way" not in capsys.readouterr().out


def test_what_runs_is_told_with_its_step_while_somebody_runs_it(store, capsys):
    list_running(store, 0)
    training = PLAN.trials[0].stages[2]
    work = store / training.kind / training.key / "work"
    work.mkdir(parents=True)
    spool = '{"step": 10, "time": 1, "metrics": {"train/loss": 0.25, "train/step_seconds": 0.5}}\n'
    (work / "spool.jsonl").write_text(spool + spool.replace("10", "20") + '{"step": 30, "ti')
    assert as_json(store, capsys)[1]["running"] == []  # nobody holds the sweep: left behind by a kill
    lease = acquire(store / "sweeps" / "drill")
    _, document = as_json(store, capsys)
    assert document["states"]["running"] == 1
    assert str(os.getpid()) in document["running_in"]
    (job,) = document["running"]
    assert (job["stage"], job["step"], job["steps"], job["loss"]) == (f"training/{training.key}", 20, 40, 0.25)
    status("drill", store=store, json_output=False)
    assert "20/40 2.0/s 0:10 left loss 0.250" in capsys.readouterr().out
    (work.parent / "record.json").write_text("{}")
    assert as_json(store, capsys)[1]["running"][0]["stage"] == f"tally/{PLAN.trials[0].key}"
    end(store, 0, "done")  # a moment later it is not listed as running any more
    assert as_json(store, capsys)[1]["states"]["running"] == 0
    lease.release()


def test_the_last_end_of_a_trial_counts_and_a_line_cut_short_does_not(store, capsys):
    end(store, 0, "failed", failure={"class": "killed", "error": "", "traceback_tail": "long"})
    end(store, 0, "done")
    path = store / "sweeps" / "drill" / "trials.jsonl"
    lines = path.read_text().splitlines()
    assert "long" not in lines[0]
    end(store, 0, "done")  # as it was
    assert path.read_text().splitlines() == lines
    path.write_text("\n".join([*lines, '{"trial": "' + PLAN.trials[1].key + '", "sta']))
    assert as_json(store, capsys)[1]["states"]["done"] == 1
    end(store, 1, "done")
    assert as_json(store, capsys)[1]["states"]["done"] == 2


def test_an_unknown_sweep_is_refused_with_the_nearest(store):
    with pytest.raises(BadInput, match="did you mean 'drill'"):
        status("dril", store=store, json_output=False)


def test_a_plan_that_was_written_anew_is_believed_rather_than_its_outline(store):
    folder = store / "sweeps" / "drill"
    save_plan(PLAN, folder)
    assert len(read_overview(folder, store).trials) == 6
    smaller = plan_document(drill(arms=2, seeds=2))
    write_json(folder / "plan.json", smaller)  # by whoever knows nothing of outlines
    assert [trial["key"] for trial in read_overview(folder, store).trials] == [one["key"] for one in smaller["trials"]]
    (folder / "plan.json").write_text('{"name": ')
    with pytest.raises(BadInput, match="ablate run"):
        read_overview(folder, store)


def test_of_jobs_that_were_queued_at_the_last_look_those_run_that_hold_their_stage(store):
    submitted_and_looked(store)
    write_json(store / "sweeps" / "drill" / "running.json", {"jobs": [], "queued": [listed(0), listed(1), listed(2)]})
    first, second = (PLAN.trials[number].stages[2] for number in (0, 1))
    for stage in (first, second):  # the second was interrupted
        (store / stage.kind / stage.key / "work").mkdir(parents=True)
    lease = acquire(store / first.kind / first.key)
    found = read_overview(store / "sweeps" / "drill", store).status
    assert ([job.key for job in found.running], found.queued) == ([first.key], 2)
    looking = acquire(store / "sweeps" / "drill")  # it has not seen yet that the job began
    found = read_overview(store / "sweeps" / "drill", store).status
    assert ([job.key for job in found.running], found.queued) == ([first.key], 2)
    looking.release()
    lease.release()


def test_gpu_hours_are_those_of_every_attempt_and_of_shared_stages_once(store):
    submitted_and_looked(store)
    folder = store / "sweeps" / "drill"
    write_json(folder / "submitted.json", {"profile": "ours", "submitted": 1.0, "gpus": 2, "poll_seconds": 1.0})
    attempts = AttemptsFile(folder)
    attempts.note(Attempt(job="tally-shared", number=1, outcome="done", seconds=1800.0))
    attempts.note(Attempt(job="trial-a", number=1, outcome="interrupted", left=1, seconds=900.0))
    attempts.begin()
    for job in ("trial-a", "trial-b"):
        attempts.note(Attempt(job=job, number=2, outcome="done", seconds=450.0))
    for number in range(2):
        end(store, number, "done", seconds=2250.0)
    request_stop(folder, kill=False, trial=PLAN.trials[5].key)
    assert read_overview(folder, store).status.gpu_hours == pytest.approx((2.0, 3.0))  # three more at an hour each


def test_cancelled_trials_are_told_apart_until_they_have_ended(store, capsys):
    folder = store / "sweeps" / "drill"
    for trial in PLAN.trials[:3]:
        request_stop(folder, kill=False, trial=trial.key)
    end(store, 0, "done")
    list_running(store, 1)
    lease = acquire(folder)
    code, document = as_json(store, capsys)
    assert code == OK
    assert [trial["state"] for trial in document["trials"]] == ["done", "running", "cancelled"] + ["waiting"] * 3
    lease.release()


def test_status_writes_nothing(store, capsys):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    as_json(store, capsys)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def show(store: Path, trial: str | None, *, attempt: int | None = None, lines: int = 100, follow: bool = False) -> int:
    return logs("drill", store=store, trial=trial, attempt=attempt, follow=follow, lines=lines, json_output=False)


def test_logs_are_listed(store, capsys):
    write_log(store, 1, 1, "x\n")
    write_log(store, 1, 2, "y\n")
    end(store, 1, "failed")
    jobs = store / "sweeps" / "drill" / "jobs"
    jobs.mkdir()
    (jobs / "tally-0123456789ab.attempt-1.log").write_text("shared\n")
    assert show(store, None) == OK
    shared, own = capsys.readouterr().out.splitlines()
    assert shared.split() == ["0123456789ab", "open", "1", "attempt", "tally", "(shared)"]
    assert own.split() == [PLAN.trials[1].key, "failed", "2", "attempts", "arm", "0:1"]
    show(store, "0123")
    assert capsys.readouterr().out == "shared\n"


def test_the_newest_attempt_is_shown_unless_another_is_asked_for(store, capsys):
    for attempt in (1, 2, 10):
        write_log(store, 0, attempt, f"attempt {attempt}\n")
    for wanted in (PLAN.trials[0].key, PLAN.trials[0].key[:6], "arm 0:0", "arm 0"):
        show(store, wanted)
        assert capsys.readouterr().out == "attempt 10\n"
    show(store, "arm 0", attempt=2)
    assert capsys.readouterr().out == "attempt 2\n"
    with pytest.raises(BadInput, match="1, 2, 10"):
        show(store, "arm 0", attempt=3)


def test_where_logs_are_is_said_for_programs(store, capsys):
    paths = [write_log(store, 0, 1, "x\n"), write_log(store, 0, 2, "y\n"), write_log(store, 1, 1, "z\n")]
    options = {"store": store, "follow": False, "lines": 1, "json_output": True}

    def said(trial: str | None, attempt: int | None = None) -> list[tuple[str, int, str]]:
        assert logs("drill", trial=trial, attempt=attempt, **options) == OK
        lines = map(json.loads, capsys.readouterr().out.splitlines())
        return [(line["trial"], line["attempt"], line["path"]) for line in lines]

    first, second = (trial.key for trial in PLAN.trials[:2])
    assert said(None) == [(first, 1, str(paths[0])), (first, 2, str(paths[1])), (second, 1, str(paths[2]))]
    assert said("arm 0:0", 2) == [(first, 2, str(paths[1]))]
    with pytest.raises(BadInput, match="the attempts 1"):
        said("arm 0:1", 2)
    with pytest.raises(BadInput, match="--follow"):
        logs("drill", trial=None, attempt=None, **{**options, "follow": True})


def test_a_trial_that_a_shared_stage_took_along_has_its_log(store, capsys):
    shared = PLAN.trials[0].stages[0]
    jobs = store / "sweeps" / "drill" / "jobs"
    jobs.mkdir()
    (jobs / f"{shared.kind}-{shared.key}.attempt-1.log").write_text("it broke\n")
    end(store, 0, "failed", failure={"class": "code_error", "error": "E", "stage": f"{shared.kind}/{shared.key}"})
    assert show(store, PLAN.trials[0].key) == OK
    assert capsys.readouterr().out == "it broke\n"


def test_an_arm_with_several_seeds_is_not_one_trial(store):
    write_log(store, 0, 1, "x\n")
    write_log(store, 1, 1, "x\n")
    with pytest.raises(BadInput, match="ARM:SEED"):
        show(store, "arm 0")
    with pytest.raises(BadInput, match="lists them"):
        show(store, "nothing like it")


@pytest.mark.parametrize(("text", "lines", "shown"), [
    ("", 5, ""),
    ("a\nb\nc\n", 2, "b\nc\n"),
    ("a\nb\nc", 2, "b\nc"),
    ("a\nb\n", 5, "a\nb\n"),
    ("x" * 200_000 + "\nlast\n", 1, "last\n"),
    ("".join(f"{i}\n" for i in range(50_000)), 3, "49997\n49998\n49999\n"),
    ("\xe4\n", 1, "\xe4\n"),
])  # fmt: skip
def test_the_last_lines_are_shown(store, capsys, text, lines, shown):
    write_log(store, 0, 1, text)
    show(store, "arm 0", lines=lines)
    assert capsys.readouterr().out == shown


def test_following_ends_with_the_sweep(store, capsys):
    path = write_log(store, 0, 1, "one\n")
    lease = acquire(store / "sweeps" / "drill")

    def go_on() -> None:
        with path.open("a") as file:
            for text in ("two\n", "three\n"):
                time.sleep(0.05)
                file.write(text)
                file.flush()
        lease.release()

    thread = threading.Thread(target=go_on)
    thread.start()
    show(store, "arm 0", follow=True)
    thread.join()
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


def test_a_plan_that_is_cut_off_is_a_mistake_that_says_what_to_do(store):
    (store / "sweeps" / "drill" / "plan.json").write_text('{"name": ')
    with pytest.raises(BadInput, match="ablate run"):
        show(store, "arm 0")
