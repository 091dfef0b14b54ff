"""MLflow shows every point once, whatever was killed on the way: real databases, real servers, real kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from contextlib import suppress
from copy import copy
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow_server import free_port, serving
from tracked_folder import TrackedFolder, points

from ablations.dashboard import dashboard
from ablations.errors import OK, BadInput
from ablations.lease import acquire
from ablations.mlflow_access import TrackingError
from ablations.restore import restore
from ablations.sync import sync
from ablations.tracking import Tracker

SMALL = "name: small\naxes: {connector.kind: [average_pool, c_abstractor]}\ndesign: grid\n"


@pytest.fixture
def made(tmp_path) -> TrackedFolder:
    return TrackedFolder(tmp_path / "st ore", SMALL)


def database(made: TrackedFolder) -> Path:
    return made.store / "mlflow.db"


def client(made: TrackedFolder) -> MlflowClient:
    return MlflowClient(tracking_uri=f"sqlite:///{database(made)}")


def runs(known: MlflowClient, name: str = "small", kind: str = "trial") -> dict[str, Run]:
    """The runs of a sweep, by trial. Two of one trial are a mistake."""
    experiment = known.get_experiment_by_name(name)
    assert experiment is not None
    found = known.search_runs([experiment.experiment_id], f"tags.`ablations.kind` = '{kind}'")
    by_trial = {run.data.tags.get("ablations.trial", ""): run for run in found}
    assert len(by_trial) == len(found)
    return by_trial


def assert_whole(made: TrackedFolder, known: MlflowClient, file: Path, name: str = "small") -> None:
    """Every point of every trial is there exactly once, and every trial is one run below the sweep's."""
    by_trial = runs(known, name)
    (sweep,) = runs(known, name, "sweep").values()
    assert by_trial.keys() == {trial.key for trial in made.trials}
    for trial in made.trials:
        run = by_trial[trial.key]
        there = points(file, run.info.run_id)
        assert max(Counter((metric, step) for metric, step, _ in there).values()) == 1
        assert set(there) == made.expected(trial)
        assert run.data.tags["mlflow.parentRunId"] == sweep.info.run_id
        assert run.info.status == "FINISHED"
        assert len(run.data.params) > 80
        assert artifacts(known, run.info.run_id) == {"config.yaml", "predictions.csv", "records.zip"}


def artifacts(known: MlflowClient, run: str, path: str = "") -> set[str]:
    found = set()
    for one in known.list_artifacts(run, path):
        found |= artifacts(known, run, one.path) if one.is_dir else {one.path}
    return found


def finish(made: TrackedFolder) -> None:
    for trial in made.trials:
        made.run(trial)
    made.write_report()


def test_a_sweep_is_a_tree_of_runs(tmp_path):
    made = TrackedFolder(tmp_path / "store")
    finish(made)
    assert Tracker(None, made.store).sync(made.folder)
    known = client(made)
    assert_whole(made, known, database(made), "connector")
    (sweep,) = runs(known, "connector", "sweep").values()
    assert sweep.info.run_name == "connector"
    assert sweep.info.status == "FINISHED"
    assert artifacts(known, sweep.info.run_id) == {
        "plan.json", "sweep.yaml", "report/index.html", "report/figures/effects.svg",
    }  # fmt: skip
    names = {run.info.run_name for run in runs(known, "connector").values()}
    assert names == {f"{kind}, 48px/{tokens} · seed {seed}"
                     for kind in ("average_pool", "c_abstractor") for tokens in (4, 9) for seed in (0, 1)}  # fmt: skip
    experiment = known.get_experiment_by_name("connector")
    some = known.search_runs(
        [experiment.experiment_id], "tags.`axis.connector.kind` = 'c_abstractor' and tags.`ablations.seed` = '1'"
    )
    assert {run.data.params["connector.kind"] for run in some} == {"c_abstractor"}
    assert len(some) == 2
    assert some[0].data.metrics["eval/four_shot"] == 0.5
    view = json.loads(experiment.tags["mlflow.sharedViewState.trials"])
    assert view["orderByKey"] == "metrics.`eval/few_shot/mean`"
    assert {
        column.partition("`")[2].rstrip("`") for column in view["selectedColumns"] if column.startswith("tags")
    } <= {*some[0].data.tags}


def test_a_training_names_the_data_it_learned_from_once(made):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    for marker in made.folder.rglob("tracked.json"):
        marker.unlink()  # what was sent before is sent again
    Tracker(None, made.store).sync(made.folder)
    (world,) = {stage.key for trial in made.trials for stage in trial.stages if stage.kind == "world"}
    for run in runs(client(made)).values():
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("world", world)
        counts = {"num_rows": 7000, "kind": "world", "train": 6000, "validation": 400, "test": 600}
        assert json.loads(used.dataset.profile) == counts
        assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_nothing_new_is_nothing_to_do(made):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    before = database(made).read_bytes()
    code = (
        "import sys; from pathlib import Path; from ablations.tracking import Tracker; "
        f"print(Tracker(None, Path({str(made.store)!r})).sync(Path({str(made.folder)!r})), 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert database(made).read_bytes() == before


def test_a_sweep_is_followed_while_it_runs(made):
    first, second = made.trials
    tracker = Tracker(None, made.store)
    dispatcher = acquire(made.folder)
    made.train(first, steps=70, kind="encoder")
    made.train(first, steps=60)
    assert tracker.sync(made.folder)
    known = client(made)
    assert runs(known)[first.key].info.status == "RUNNING"
    assert runs(known, kind="sweep")[""].info.status == "RUNNING"
    assert set(points(database(made), runs(known)[first.key].info.run_id)) == made.expected(first)
    made.train(first, steps=30)  # killed, and back at its checkpoint
    tracker.sync(made.folder)
    made.train(first, steps=50, start=1_790_009_999.0)  # the same steps at another time
    tracker.sync(made.folder)
    made.train(first, steps=80, start=1_790_009_999.0)
    tracker.sync(made.folder)
    there = points(database(made), runs(known)[first.key].info.run_id)
    assert [step for metric, step, _ in there if metric == "train/loss"] == [10, 20, 30, 40, 50, 60, 70, 80]
    for trial in (first, second):
        made.run(trial)
    tracker.sync(made.folder)
    made.write_report()
    tracker.sync(made.folder)
    assert_whole(made, known, database(made))
    assert runs(known, kind="sweep")[""].info.status == "FINISHED"
    dispatcher.release()


def test_what_nobody_works_on_any_more_is_closed_and_opened_again(made):
    trial = made.trials[0]
    tracker = Tracker(None, made.store)
    dispatcher = acquire(made.folder)
    made.train(trial, steps=60)
    tracker.sync(made.folder)
    dispatcher.release()  # as by a kill
    assert tracker.sync(made.folder)
    known = client(made)
    assert runs(known)[trial.key].info.status == "KILLED"
    assert runs(known)[trial.key].data.tags["ablations.state"] == "stopped"
    assert runs(known, kind="sweep")[""].info.status == "KILLED"
    dispatcher = acquire(made.folder)
    assert tracker.sync(made.folder)
    assert runs(known)[trial.key].info.status == "RUNNING"
    dispatcher.release()


@pytest.mark.parametrize("forgetful", [False, True])
def test_a_training_that_resumes_and_comes_out_otherwise_is_shown_as_it_is(made, forgetful):
    trial = made.trials[0]
    dispatcher = acquire(made.folder)
    tracker = Tracker(None, made.store)
    made.train(trial, steps=60)
    tracker.sync(made.folder)
    before = runs(client(made))[trial.key].info.run_id
    made.train(trial, steps=30)
    tracker.sync(made.folder)  # cut back, and not on its way yet
    made.train(trial, steps=50, every=20)
    tracker.sync(made.folder)
    assert runs(client(made))[trial.key].info.run_id == before
    if forgetful:
        (made.folder / "trials" / trial.key / "tracked.json").unlink()
    made.train(trial, steps=90, every=20)
    tracker.sync(made.folder)
    run = runs(client(made))[trial.key].info.run_id
    there = points(database(made), run)
    assert [step for metric, step, _ in there if metric == "train/loss"] == [10, 20, 30, 50, 70, 90]
    assert set(there) == made.expected(trial)
    assert not tracker.sync(made.folder)
    dispatcher.release()


def test_scores_that_were_evaluated_anew_replace_the_old_ones(made):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    record = made.folder / "trials" / made.trials[0].key / "record.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "metrics": dict.fromkeys(content["metrics"], 0.75)}))
    Tracker(None, made.store).sync(made.folder)
    assert_whole(made, client(made), database(made))
    assert runs(client(made))[made.trials[0].key].data.metrics["eval/four_shot"] == 0.75


def test_two_stores_may_have_sweeps_of_one_name_in_one_mlflow(made, tmp_path):
    other = TrackedFolder(tmp_path / "other", SMALL)
    uri = f"sqlite:///{tmp_path}/team.db"
    for one in (made, other):
        finish(one)
        one.write_report(f"of {one.store.name}")
    for one in (made, other, made):
        Tracker(uri, one.store).sync(one.folder)
    (other.folder / "tracked.json").unlink()
    Tracker(uri, other.store).sync(other.folder)
    known = MlflowClient(tracking_uri=uri)
    experiment = known.get_experiment_by_name("small")
    found = known.search_runs([experiment.experiment_id])
    assert Counter(run.data.tags["ablations.kind"] for run in found) == {"sweep": 2, "trial": 4}
    for one in (made, other):
        own = (
            Tracker(uri, one.store).experiment(one.folder),
            json.loads((one.folder / "tracked.json").read_text())["run"],
        )
        page = Path(known.download_artifacts(own[1], "report/index.html", str(tmp_path)))
        assert page.read_text() == f"of {one.store.name}"
    restored, problems = restore(uri, "small", tmp_path / "restored")
    assert len(list(restored.glob("trials/*/record.json"))) == 2
    assert any("2 sweeps" in problem for problem in problems)


def test_runs_that_a_server_lost_are_made_anew_when_asked(made, tmp_path):
    finish(made)
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with serving(tmp_path / "server", port):
        assert Tracker(uri, made.store).sync(made.folder)
        known = MlflowClient(tracking_uri=uri)
        known.delete_run(runs(known)[made.trials[0].key].info.run_id)
        assert sync("small", store=made.store, tracking_uri=uri, json_output=False) == OK
        assert_whole(made, known, tmp_path / "server" / "server.db")
    with serving(tmp_path / "another", port):  # at the same address, and empty
        assert sync("small", store=made.store, tracking_uri=uri, json_output=False) == OK
        assert_whole(made, MlflowClient(tracking_uri=uri), tmp_path / "another" / "server.db")


def test_a_run_that_was_deleted_in_the_dashboard_comes_back(made):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    known = client(made)
    known.delete_run(runs(known)[made.trials[0].key].info.run_id)
    assert Tracker(None, made.store).sync(made.folder)
    assert_whole(made, known, database(made))


def test_every_end_of_a_trial_has_its_status(made):
    first, second = made.trials
    dispatcher = acquire(made.folder)
    made.train(first, steps=20)
    made.finish(first, "failed")
    made.train(second, steps=20)
    made.finish(second, "pruned")
    tracker = Tracker(None, made.store)
    tracker.sync(made.folder)
    known = client(made)
    assert runs(known)[first.key].info.status == "FAILED"
    assert runs(known)[first.key].data.tags["ablations.failure"] == "out_of_memory: MemoryError: all of it"
    assert runs(known)[second.key].info.status == "KILLED"
    made.finish(first, "diverged")
    tracker.sync(made.folder)
    assert runs(known)[first.key].data.tags["ablations.state"] == "diverged"
    (made.folder / "trials" / first.key / "record.json").unlink()  # it is tried again
    tracker.sync(made.folder)
    assert runs(known)[first.key].info.status == "RUNNING"
    made.run(first)
    tracker.sync(made.folder)
    assert runs(known)[first.key].info.status == "FINISHED"
    dispatcher.release()


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_point_is_there_once_though_syncing_is_killed_again_and_again(made, when):
    """Each sync is killed at a call to MLflow, one call further than the last, until one gets through."""
    calls, killed = 1, 0
    for trial, steps in zip(made.trials, (60, 20), strict=True):
        made.train(trial, steps=steps, kind="encoder")
        made.train(trial, steps=steps)
    while killed < 40:
        pid = os.fork()
        if pid == 0:
            with suppress(BaseException):
                die_at_call(calls, when)
                Tracker(None, made.store).sync(made.folder)
                os._exit(0)
            os._exit(1)
        status = os.waitpid(pid, 0)[1]
        assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
        if killed == 3:
            made.train(made.trials[0], steps=30)  # cut back
        if killed == 6:
            for trial in made.trials:
                made.train(trial, steps=100, kind="encoder")
                made.train(trial, steps=100, start=1_790_009_999.0)
                made.finish(trial)
        if os.WIFEXITED(status) and killed > 6:
            break
        killed, calls = killed + 1, calls % 7 + 1
    assert killed > 6
    Tracker(None, made.store).sync(made.folder)
    assert_whole(made, client(made), database(made))


def die_at_call(number: int, when: str) -> None:
    """From here on, the process kills itself before or after its so-manieth call that writes."""
    left = number

    def wrap(method):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left == 0 and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*arguments, **options)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in ("create_experiment", "create_run", "log_batch", "set_terminated", "log_text", "log_artifact"):
        setattr(MlflowClient, name, wrap(getattr(MlflowClient, name)))


def test_lost_and_damaged_markers_cost_nothing_but_time(made):
    finish(made)
    tracker = Tracker(None, made.store)
    tracker.sync(made.folder)
    markers = sorted(made.folder.rglob("tracked.json"))
    assert len(markers) == 3
    for damage in ("", '{"uri": "sqlite:', "[]", '{"uri": null, "steps": 3}'):
        for marker in markers:
            marker.write_text(damage) if damage else marker.unlink()
        for trial in made.trials:  # trained again, at another time
            made.train(trial, steps=10)
            made.train(trial, steps=100, start=1_790_000_000.0 + 1000 * len(damage))
        assert tracker.sync(made.folder)
        assert not tracker.sync(made.folder)
        assert_whole(made, client(made), database(made))


def test_a_deleted_database_is_rebuilt_from_the_records(made):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    database(made).unlink()
    sync_in_process(made)
    assert_whole(made, fresh_client(made), database(made))


def fresh_client(made: TrackedFolder) -> MlflowClient:
    """One that has not opened the database before: MLflow keeps its connections by address."""
    return MlflowClient(tracking_uri=f"sqlite:///{made.store}/../{made.store.name}/mlflow.db")


def sync_in_process(made: TrackedFolder, uri: str | None = None) -> None:
    code = (
        "from pathlib import Path; from ablations.tracking import Tracker; "
        f"Tracker({uri!r}, Path({str(made.store)!r})).sync(Path({str(made.folder)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_damaged_database_is_left_alone_and_may_be_deleted(made):
    finish(made)
    database(made).write_bytes(b"no database" * 1000)
    with pytest.raises(TrackingError, match="delete it"):
        Tracker(None, made.store).sync(made.folder)
    assert database(made).read_bytes() == b"no database" * 1000
    database(made).unlink()
    sync_in_process(made)
    assert_whole(made, fresh_client(made), database(made))


def at(made: TrackedFolder, store: Path) -> TrackedFolder:
    """The same sweep in a store that was moved or copied."""
    there = copy(made)
    there.store, there.folder = store, store / "sweeps" / made.folder.name
    return there


def contents(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def assert_artifacts_within(made: TrackedFolder) -> None:
    for kind in ("sweep", "trial"):
        for run in runs(client(made), kind=kind).values():
            assert run.info.artifact_uri.startswith((made.store / "mlartifacts").as_uri())


def test_a_copied_store_leaves_the_one_it_was_copied_from_alone(made, tmp_path, capsys):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    shutil.copytree(made.store, tmp_path / "the copy")
    copied = at(made, tmp_path / "the copy")
    before = contents(made.store)
    made_otherwise = copied.folder / "trials" / made.trials[0].key / "record.json"
    made_otherwise.write_text(made_otherwise.read_text().replace('"seconds": 30.0', '"seconds": 31.0'))
    assert sync("small", store=copied.store, tracking_uri=None, json_output=True) == OK
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["written"]
    (line,) = [line for line in said.err.splitlines() if "mlflow.db" in line]
    assert "mlflow.db.moved-1" in line
    assert_whole(copied, client(copied), database(copied))
    assert_artifacts_within(copied)
    assert (copied.store / "mlflow.db.moved-1").read_bytes() == before["mlflow.db"]
    assert not Tracker(None, copied.store).sync(copied.folder)
    assert not Tracker(None, made.store).sync(made.folder)
    assert contents(made.store) == before
    assert "moved-" not in capsys.readouterr().err


def test_a_moved_store_is_whole_and_the_old_place_stays_gone(made, tmp_path):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    (made.store / "mlflow.db.moved-1").write_text("of an earlier move")
    moved = at(made, tmp_path / "elsewhere" / "store")
    moved.store.parent.mkdir()
    made.store.rename(moved.store)
    assert Tracker(None, moved.store).sync(moved.folder)
    assert not made.store.exists()
    assert (moved.store / "mlflow.db.moved-1").read_text() == "of an earlier move"
    assert (moved.store / "mlflow.db.moved-2").exists()
    assert_whole(moved, client(moved), database(moved))
    assert_artifacts_within(moved)
    restored, problems = restore(f"sqlite:///{database(moved)}", "small", tmp_path / "restored")
    assert problems == []
    assert len(list(restored.glob("trials/*/record.json"))) == 2


def test_a_store_that_has_two_names_keeps_its_database(made, tmp_path):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    made.store.rename(tmp_path / "elsewhere")
    made.store.symlink_to(tmp_path / "elsewhere")
    Tracker(None, made.store).sync(made.folder)
    assert not list(made.store.glob("mlflow.db.moved-*"))
    assert_whole(made, client(made), database(made))


def test_two_that_sync_at_once_do_it_once(made):
    finish(made)
    code = (
        "from pathlib import Path; from ablations.tracking import Tracker; "
        f"Tracker(None, Path({str(made.store)!r})).sync(Path({str(made.folder)!r}))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert_whole(made, client(made), database(made))


def test_an_experiment_that_was_deleted_comes_back(made):
    finish(made)
    tracker = Tracker(None, made.store)
    tracker.sync(made.folder)
    known = client(made)
    known.delete_experiment(known.get_experiment_by_name("small").experiment_id)
    made.write_report("another")
    tracker.sync(made.folder)
    assert known.get_experiment_by_name("small").lifecycle_stage == "active"


def test_a_server_that_is_killed_and_comes_back_misses_nothing(made, tmp_path, monkeypatch):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    first, second = made.trials
    made.train(first, steps=50)
    with pytest.raises(TrackingError, match=uri):
        Tracker(uri, made.store).sync(made.folder)
    with serving(tmp_path / "server", port):
        tracker = Tracker(uri, made.store)
        assert tracker.sync(made.folder)
    made.run(first)
    made.train(second, steps=30)
    with pytest.raises(TrackingError):
        tracker.sync(made.folder)
    with serving(tmp_path / "server", port) as server:
        real, calls = MlflowClient.log_batch, []

        def killed_at_the_third(*arguments, **options):
            calls.append(1)
            if len(calls) == 3:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            return real(*arguments, **options)

        monkeypatch.setattr(MlflowClient, "log_batch", killed_at_the_third)
        with pytest.raises(TrackingError):
            tracker.sync(made.folder)
        monkeypatch.undo()
    made.run(second)
    with serving(tmp_path / "server", port):
        assert tracker.sync(made.folder)
        assert not tracker.sync(made.folder)
        assert_whole(made, MlflowClient(tracking_uri=uri), tmp_path / "server" / "server.db")
    assert not database(made).exists()


def test_passwords_stay_out_of_markers_and_messages(made):
    made.run(made.trials[0])
    port = free_port()
    with pytest.raises(TrackingError) as raised:
        Tracker(f"http://me:secret@127.0.0.1:{port}", made.store).sync(made.folder)
    assert "secret" not in str(raised.value)
    assert not any("secret" in path.read_text() for path in made.folder.rglob("tracked.json"))


def test_another_address_is_filled_as_well(made, tmp_path):
    finish(made)
    Tracker(None, made.store).sync(made.folder)
    other = f"sqlite:///{tmp_path}/other.db"
    assert Tracker(other, made.store).sync(made.folder)
    assert_whole(made, MlflowClient(tracking_uri=other), tmp_path / "other.db")
    assert Tracker(None, made.store).sync(made.folder)
    assert_whole(made, client(made), database(made))


def test_the_dashboard_serves_the_runs_until_it_is_interrupted(made):
    finish(made)
    port = free_port()
    start = "from ablations.cli import main; main()"
    command = [sys.executable, "-c", start, "dashboard", "small", "--store", str(made.store)]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        experiment = address.partition("experiments/")[2].partition("/")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page:
            assert b"MLflow" in page.read()
        known = MlflowClient(tracking_uri=f"http://127.0.0.1:{port}")
        assert known.get_experiment(experiment).name == "small"
        assert_whole(made, known, database(made))
        with pytest.raises(BadInput, match=str(port)):
            dashboard("small", store=made.store, port=port, tracking_uri=None)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)


def test_sync_catches_up_once(made, tmp_path, capsys):
    finish(made)
    other = f"sqlite:///{tmp_path}/other.db"
    for written in (True, False):
        assert sync(None, store=made.store, tracking_uri=other, json_output=True) == OK
        (one,) = json.loads(capsys.readouterr().out)
        assert (one["name"], one["written"]) == ("small", written)
    assert_whole(made, MlflowClient(tracking_uri=other), tmp_path / "other.db")


def test_a_server_that_is_away_is_named_and_nothing_is_lost(made):
    finish(made)
    away = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match=away):
        sync("small", store=made.store, tracking_uri=away, json_output=False)
    assert sync("small", store=made.store, tracking_uri=None, json_output=False) == OK
    assert_whole(made, client(made), database(made))


def test_what_is_no_address_of_an_mlflow_is_said_without_its_password(made):
    made.run(made.trials[0])
    with pytest.raises(BadInput, match="sqlite:///") as raised:
        Tracker("ftp://me:secret@host/mlflow", made.store).sync(made.folder)
    assert "secret" not in str(raised.value)
    with pytest.raises(TrackingError, match="postgres"):  # a driver that is not one of ours
        Tracker("postgresql+pg8000://me:secret@127.0.0.1:1/mlflow", made.store).sync(made.folder)


def test_a_dashboard_of_nothing_says_so(tmp_path):
    with pytest.raises(BadInput, match="no sweep"):
        dashboard(None, store=tmp_path, port=5000, tracking_uri=None)
    with pytest.raises(BadInput, match="none yet"):
        dashboard("anything", store=tmp_path, port=5000, tracking_uri=None)
