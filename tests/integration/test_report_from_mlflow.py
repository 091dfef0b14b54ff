"""A report made of what MLflow has equals the one made of the records; what MLflow lacks is said."""

import json
import threading
import time
import zipfile
from pathlib import Path

import pytest
from mlflow import MlflowClient
from report_records import ArmRecord, axis, write_sweep

from ablations import record_archive
from ablations.errors import OK, TRIALS_FAILED, BadInput
from ablations.record_archive import BadArchive, pack, unpack
from ablations.report import report
from ablations.sync import sync

KINDS = {"pool": {"connector.kind": "average_pool"}, "abstractor": {"connector.kind": "c_abstractor"}}


def write(store, states=None):
    arms = [
        ArmRecord(label=kind, values={"connector.kind": kind}, settings=KINDS[kind], baseline=kind == "pool",
                  scores={"0": 40.0 + 20 * place, "4": 60.0, "text_core": 50.0}, states=(states or {}).get(kind, {}))
        for place, kind in enumerate(KINDS)
    ]  # fmt: skip
    return write_sweep(
        store, "kinds", arms, axes=[axis("connector.kind", KINDS)], figures=["connector"], items=40, seed_spread=2.0
    )


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def synced(tmp_path):
    """A store with a sweep, one of whose trials failed and one is not there yet; and the MLflow it was synced to."""
    store, uri = tmp_path / "store", f"sqlite:///{tmp_path}/elsewhere.db"
    write(store, {"abstractor": {1: "failed", 2: "missing"}})
    assert sync("kinds", store=store, tracking_uri=uri, json_output=True) == OK
    return store, uri


def from_mlflow(sweep, uri, output, **more):
    options = {"images": False, "json_output": True} | more
    return report([sweep], store=output / "no store", output=output, from_mlflow=uri, **options)


def test_it_equals_the_report_of_the_records(synced, tmp_path):
    store, uri = synced
    assert from_mlflow("kinds", uri, tmp_path / "there") == TRIALS_FAILED
    assert report(["kinds"], store=store, output=tmp_path / "here", images=False, json_output=True) == TRIALS_FAILED
    assert files(tmp_path / "there") == files(tmp_path / "here")
    page = (tmp_path / "there" / "index.html").read_text()
    assert "a &lt;b&gt;blue&lt;/b&gt; one" in page  # the examples came along
    assert '"figure-learning"' in page


def test_what_mlflow_does_not_have_is_said(synced, tmp_path, capsys):
    _, uri = synced
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("kinds")
    runs = client.search_runs([experiment.experiment_id], "tags.`ablations.arm` = 'pool'")
    damaged, gone = (Path(run.info.artifact_uri.removeprefix("file://"), record_archive.NAME) for run in runs[:2])
    damaged.write_bytes(b"not an archive")
    gone.unlink()
    from_mlflow("kinds", uri, tmp_path / "there")
    said = capsys.readouterr().err
    assert "damaged" in said
    assert "1 of 5 ended trials have no records.zip" in said


def test_a_record_that_was_damaged_when_it_was_synced_is_sent_again_once_it_is_whole(tmp_path, capsys):
    """The trial's own record stays as it is: the stage that was done again came to the same scores."""
    store, uri = tmp_path / "store", f"sqlite:///{tmp_path}/elsewhere.db"
    folder = write(store)
    key = json.loads((folder / "plan.json").read_text())["trials"][0]["key"]
    record = store / "evaluate" / key / "record.json"
    whole = record.read_bytes()
    record.write_bytes(whole[:100])
    assert sync("kinds", store=store, tracking_uri=uri, json_output=True) == OK
    assert from_mlflow("kinds", uri, tmp_path / "damaged") == TRIALS_FAILED
    record.write_bytes(whole)
    capsys.readouterr()
    for written in (True, False):
        assert sync("kinds", store=store, tracking_uri=uri, json_output=True) == OK
        assert json.loads(capsys.readouterr().out)[0]["written"] == written
    assert from_mlflow("kinds", uri, tmp_path / "there") == OK
    assert report(["kinds"], store=store, output=tmp_path / "here", images=False, json_output=True) == OK
    assert files(tmp_path / "there") == files(tmp_path / "here")


def test_names_and_addresses_that_are_wrong_are_mistakes(synced, tmp_path):
    _, uri = synced
    with pytest.raises(BadInput, match="did you mean 'kinds'"):
        from_mlflow("kindz", uri, tmp_path / "there")
    with pytest.raises(BadInput, match="--watch"):
        from_mlflow("kinds", uri, tmp_path / "there", watch=True)
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+pysqlite"])
def test_a_database_that_is_not_there_is_not_made(tmp_path, monkeypatch, scheme):
    monkeypatch.chdir(tmp_path)
    for file in ("nothere.db", f"{tmp_path}/nothere.db", "no folder/nothere.db", ""):
        with pytest.raises(BadInput, match="no such database"):
            from_mlflow("kinds", f"{scheme}:///{file}", tmp_path / "there")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_comes_back_as_it_was(tmp_path):
    folder = write(tmp_path / "store")
    trial = {"key": next((folder / "trials").iterdir()).name, "stages": []}
    content = pack(folder, tmp_path / "store", trial, '{"task": "colour"}\n')
    assert content == pack(folder, tmp_path / "store", trial, '{"task": "colour"}\n')
    unpack(content, tmp_path / "back")
    record = f"sweeps/kinds/trials/{trial['key']}/record.json"
    assert (tmp_path / "back" / record).read_bytes() == (tmp_path / "store" / record).read_bytes()


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "sweeps/../../x/trials/ab/record.json", "world/ab/work/x"]
)
def test_an_archive_writes_nothing_but_records(tmp_path, name):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("world/ab/record.json", "{}")
        archive.writestr(name, "{}")
    with pytest.raises(BadArchive):
        unpack(path.read_bytes(), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_watched_report_follows_the_records_to_the_end(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ablations.report._SECONDS_APART", 0.05)
    store = tmp_path / "store"
    folder = write(store, {"abstractor": {2: "missing"}})
    lines = (folder / "trials").iterdir

    def end(known: int) -> None:
        records = [json.loads((path / "record.json").read_text()) for path in lines()]
        (folder / "trials.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    end(5)
    answers = []
    watching = threading.Thread(
        target=lambda: answers.append(
            report(["kinds"], store=store, output=None, images=False, json_output=False, watch=True)
        )
    )
    watching.start()
    patience = time.monotonic() + 60
    while not (folder / "report" / "summary.json").exists():
        assert time.monotonic() < patience
        time.sleep(0.05)
    assert watching.is_alive()
    write(store)
    end(6)
    watching.join(60)
    assert answers == [OK]
    said = capsys.readouterr().out
    assert "5 of 6 trials scored" in said
    assert "6 of 6 trials scored" in said
