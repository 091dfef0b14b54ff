"""The whole dispatcher on real processes: what runs where, what is left after a kill, who may write."""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tally import drill

from ablations.cancel import cancel
from ablations.errors import OK, STOPPED, STORE_UNUSABLE, TRIALS_FAILED
from ablations.lease import holder
from ablations.overview import read_overview
from ablations.stop_request import clear_stop
from reports.build import build_report

TESTS = Path(__file__).parents[1]
SLOW = {"arms": 2, "seeds": 2, "steps": 20, "step_seconds": 0.02}
"""A sweep that takes a second or two, so that it can be disturbed."""


def start(store: Path, name: str = "drill", *, limit: int | None = None, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}

    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, str(TESTS / "drill_run.py"), str(store), name, json.dumps(options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=limit_files,
    )


@pytest.fixture
def begin() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``start`` whose processes do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def begin_one(*arguments: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(start(*arguments, **options))
        return started[-1]

    yield begin_one
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, printed document, messages."""
    out, err = process.communicate(timeout=120)
    return process.returncode, json.loads(out) if out else {}, err


def run(store: Path, name: str = "drill", **options: Any) -> tuple[int, dict[str, Any], str]:
    return finish(start(store, name, **options))


def records(store: Path) -> dict[str, Any]:
    """Every record, stages' and trials', without what differs from run to run, and the stages' files."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("record.json")):
        record = json.loads(path.read_text())
        for name in ("provenance", "seconds"):
            record.pop(name, None)
        found[str(path.relative_to(store))] = record
        digest = path.parent / "work" / "digest"
        if digest.exists():
            found[str(digest.relative_to(store))] = digest.read_text()
    return found


def steps_done(store: Path) -> int:
    """Steps of all stages together, repeated ones included."""
    return sum(len(path.read_text().splitlines()) for path in store.glob("*/*/work/spool.jsonl"))


def trial_record(store: Path, name: str, key: str) -> dict[str, Any]:
    return json.loads((store / "sweeps" / name / "trials" / key / "record.json").read_text())


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited a minute in vain"
        time.sleep(0.005)


def descendants(pid: int) -> list[int]:
    """Processes below ``pid``, the server and its jobs."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] not in "ZX" and int(fields[1]) == pid:
                    found += [int(entry.name), *descendants(int(entry.name))]
    return found


def test_a_sweep_runs_to_its_end_and_a_second_time_not_at_all(tmp_path):
    code, document, _ = run(tmp_path / "store")
    assert code == OK
    assert document["counts"]["done"] == 6
    logs = sorted((tmp_path / "store").rglob("*attempt-*.log"))
    assert len(logs) == 1 + 2 + 6
    before = records(tmp_path / "store")
    assert run(tmp_path / "store")[0] == OK
    assert sorted((tmp_path / "store").rglob("*attempt-*.log")) == logs
    assert records(tmp_path / "store") == before
    assert list((tmp_path / "store").rglob("lease-*")) == []


def test_every_fault_is_told_apart_and_touches_no_other_trial(tmp_path):
    faults = ["raise", "data", "memory", "diverge", "exit", "vanish", "die", "die once"]
    planned = drill(arms=9, seeds=1)
    code, document, messages = run(
        tmp_path, arms=9, seeds=1, faults={f"train {i} 0": fault for i, fault in enumerate(faults)}
    )
    assert code == TRIALS_FAILED
    found = {}
    for trial, fault in zip(planned.trials, [*faults, "none"], strict=True):
        record = trial_record(tmp_path, "drill", trial.key)
        logs = list((tmp_path / "sweeps" / "drill" / "trials" / trial.key).glob("attempt-*.log"))
        found[fault] = (record["state"], (record["failure"] or {}).get("class"), len(logs))
    assert found == {
        "raise": ("failed", "code_error", 1),
        "data": ("failed", "data_error", 1),
        "memory": ("failed", "out_of_memory", 2),
        "diverge": ("diverged", "diverged", 1),
        "exit": ("failed", "code_error", 1),
        "vanish": ("failed", "code_error", 1),
        "die": ("failed", "killed", 3),
        "die once": ("done", None, 2),
        "none": ("done", None, 1),
    }
    ended = {"done": 2, "pruned": 0, "diverged": 1, "failed": 6}
    assert document["counts"] == {**ended, "cancelled": 0, "running": 0, "waiting": 0}
    assert "Traceback" not in messages
    log = tmp_path / "sweeps" / "drill" / "trials" / planned.trials[0].key / "attempt-1.log"
    assert "RuntimeError: wrong on purpose" in log.read_text()


def test_failed_trials_are_tried_again_by_the_next_run(tmp_path):
    assert run(tmp_path, faults={"train 1 0": "raise"})[0] == TRIALS_FAILED
    assert run(tmp_path)[0] == OK
    run(tmp_path / "undisturbed")
    assert records(tmp_path / "undisturbed") == {
        name: record for name, record in records(tmp_path).items() if not name.startswith("undisturbed")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("undisturbed")
    assert run(store, **SLOW)[0] == OK
    return records(store)


@pytest.mark.parametrize("seed", [0, 1])
def test_kills_at_random_moments_lose_nothing(tmp_path, begin, undisturbed, seed):
    """Ten times a job, the server or the dispatcher is killed; the records are those of an undisturbed run."""
    source = random.Random(seed)
    expected = sum(stage.config.steps for stage in drill(**SLOW).stages().values())
    process = begin(tmp_path, **SLOW)
    kills = {"job": 0, "server": 0, "dispatcher": 0}
    for _ in range(10):
        time.sleep(source.uniform(0.1, 0.6))
        if process.poll() is not None:
            process = begin(tmp_path, **SLOW)
            continue
        victim = source.choice(list(kills))
        below = descendants(process.pid)
        pids = {"dispatcher": [process.pid], "server": below[:1], "job": below[1:]}[victim]
        if pids:
            kills[victim] += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(source.choice(pids), signal.SIGKILL)
        if victim == "dispatcher":
            process.wait()
            until(lambda below=below: not any(os.path.exists(f"/proc/{pid}/exe") for pid in below if alive(pid)))
            process = begin(tmp_path, **SLOW)
    code, document, _ = finish(process)
    for _ in range(3):  # a trial may have been killed three times within one run
        if code == OK:
            break
        code, document, _ = run(tmp_path, **SLOW)
    assert code == OK
    assert document["counts"]["done"] == 4
    assert records(tmp_path) == undisturbed
    assert steps_done(tmp_path) <= expected + 2 * sum(kills.values())  # two jobs at a time, a checkpoint each step
    assert not any(holder(lease.parent) for lease in tmp_path.rglob("lease-*"))  # a kill after a record leaves its file


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ctrl_c_saves_what_runs_and_the_same_command_goes_on(tmp_path, begin, undisturbed):
    process = begin(tmp_path, **SLOW)
    until(lambda: steps_done(tmp_path) > 15)
    process.send_signal(signal.SIGINT)
    code, document, messages = finish(process)
    assert code == STOPPED
    assert document["counts"]["failed"] == 0
    assert document["counts"]["waiting"] > 0
    assert "Traceback" not in messages
    assert list(tmp_path.rglob("lease-*")) == []
    assert run(tmp_path, **SLOW)[0] == OK
    assert records(tmp_path) == undisturbed
    assert steps_done(tmp_path) == sum(stage.config.steps for stage in drill(**SLOW).stages().values())


def test_a_second_ctrl_c_ends_what_does_not_stop(tmp_path, begin):
    process = begin(tmp_path, arms=1, seeds=1, faults={"train 0 0": "hang"})
    spool = next(stage for stage in drill(arms=1, seeds=1).trials[0].stages if stage.kind == "training")
    until((tmp_path / "training" / spool.key / "work" / "spool.jsonl").exists)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    process.send_signal(signal.SIGINT)
    code, document, _ = finish(process)
    assert code == STOPPED
    assert {state for state, count in document["counts"].items() if count} == {"waiting"}
    assert run(tmp_path, arms=1, seeds=1)[0] == OK


def test_cancelled_trials_save_their_state_and_the_others_are_finished(tmp_path, begin):
    settings = {"arms": 3, "seeds": 1, "steps": 100, "step_seconds": 0.02}
    first, _, last = drill(**settings).trials
    process = begin(tmp_path, workers=1, **settings)
    spool = tmp_path / "training" / first.stages[2].key / "work" / "spool.jsonl"
    until(spool.exists)
    cancel("drill", [first.key[:8], "arm 2:0"], store=tmp_path, kill=False, yes=False, json_output=False)
    states = [trial["state"] for trial in read_overview(tmp_path / "sweeps" / "drill", tmp_path).trials]
    assert [states[0], states[2]] == ["cancelled", "cancelled"]
    _, document, _ = finish(process)
    assert {state: count for state, count in document["counts"].items() if count} == {"done": 1, "cancelled": 2}
    assert not (tmp_path / "training" / last.stages[2].key).exists()
    summary = build_report(tmp_path / "sweeps" / "drill", store=tmp_path, output=tmp_path / "report", images=False)
    told = {trial["arm"]: trial["state"] for trial in summary["unfinished"]}
    assert (told["arm 0"], told["arm 2"]) == ("missing", "missing")
    clear_stop(tmp_path / "sweeps" / "drill")  # as `ablate run` does
    assert run(tmp_path, **settings)[1]["counts"]["done"] == 3
    assert len(spool.read_text().splitlines()) == 100  # none of them twice


def test_two_dispatchers_on_one_sweep_one_refuses(tmp_path, begin):
    first = begin(tmp_path, **{**SLOW, "steps": 10_000})
    until(lambda: holder(tmp_path / "sweeps" / "drill"))
    code, _, messages = run(tmp_path, **{**SLOW, "steps": 10_000})
    assert code == STOPPED
    assert f"process {first.pid}" in messages
    first.send_signal(signal.SIGINT)
    code, document, _ = finish(first)
    assert (code, document["counts"]["waiting"]) == (STOPPED, 4)


def test_two_sweeps_on_one_store_share_the_work(tmp_path, begin):
    first, second = begin(tmp_path, "one", **SLOW), begin(tmp_path, "two", **SLOW)
    assert finish(first)[0] == finish(second)[0] == OK
    assert steps_done(tmp_path) == sum(stage.config.steps for stage in drill(**SLOW).stages().values())
    for trial in drill(**SLOW).trials:
        one, two = (trial_record(tmp_path, name, trial.key) for name in ("one", "two"))
        assert one == two


def test_when_the_dispatcher_is_killed_nothing_goes_on(tmp_path, begin):
    process = begin(tmp_path, **SLOW)
    until(lambda: len(descendants(process.pid)) >= 2)
    below = descendants(process.pid)
    process.kill()
    until(lambda: not any(alive(pid) for pid in below))
    done = steps_done(tmp_path)
    time.sleep(0.2)
    assert steps_done(tmp_path) == done


def test_a_corrupt_record_is_done_again_with_a_warning(tmp_path):
    run(tmp_path)
    before = records(tmp_path)
    trial = drill().trials[0]
    path = tmp_path / "tally" / trial.key / "record.json"
    path.write_bytes(path.read_bytes()[:40])
    code, _, messages = run(tmp_path)
    assert code == OK
    assert "record.json.corrupt-1" in messages
    assert records(tmp_path) == before


def test_a_full_disk_stops_the_sweep_with_a_remedy_and_it_goes_on_afterwards(tmp_path):
    """The kernel refuses to let files grow beyond a size, as a full disk would."""
    process = start(tmp_path, limit=1 << 19, faults={"train 0 0": "fill"}, arms=2, seeds=1)
    code, _, messages = finish(process)
    assert code == STORE_UNUSABLE
    assert "free some space" in messages
    assert "Traceback" not in messages
    assert run(tmp_path, arms=2, seeds=1)[0] == OK


def test_a_store_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "store").write_text("in the way")
    code, _, messages = run(tmp_path / "store")
    assert code == STORE_UNUSABLE
    assert str(tmp_path / "store") in messages
