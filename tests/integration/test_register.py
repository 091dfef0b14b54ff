"""What is registered is what was trained: files that are damaged are named, and nothing is registered."""

import json

import pytest
from mlflow import MlflowClient
from tracked_folder import TrackedFolder

from ablations.errors import OK, StoreError
from ablations.plan import Trial
from ablations.register import register
from ablations.store import StageFolder, Store

SMALL = "name: small\naxes: {connector.kind: [average_pool]}\ndesign: grid\n"


@pytest.fixture
def made(tmp_path) -> TrackedFolder:
    """A sweep of one finished trial, whose records name the files that they came with."""
    made = TrackedFolder(tmp_path / "store", SMALL)
    (trial,) = made.trials
    made.run(trial)
    for kind, names in (("pretrain", ("model.json", "model.safetensors")), ("world", ("tokenizer.json",))):
        folder = stage(made, trial, kind)
        for name in names:
            (folder.work / name).write_text(f"all of {name}")
        record = json.loads((folder.path / "record.json").read_text())
        folder.write_record({**record, "files": folder.files()})
    (made.folder / "trials.jsonl").write_text(
        json.dumps({"trial": trial.key, "state": "done", "objective": 0.5, "seconds": 1.0, "failure": None}) + "\n"
    )
    return made


def stage(made: TrackedFolder, trial: Trial, kind: str) -> StageFolder:
    return next(Store(made.store).stage(one.kind, one.key) for one in trial.stages if one.kind == kind)


def register_small(made: TrackedFolder) -> int:
    return register("small", None, name=None, store=made.store, tracking_uri=None, json_output=True)


@pytest.mark.parametrize(
    ("kind", "file"),
    [("pretrain", "model.json"), ("pretrain", "model.safetensors"), ("world", "tokenizer.json")],
)
def test_a_truncated_file_is_named_and_nothing_is_registered(made, kind, file):
    folder = stage(made, made.trials[0], kind)
    path = folder.work / file
    path.write_text(path.read_text()[:5])
    before = (folder.path / "record.json").read_bytes()
    with pytest.raises(StoreError, match="`ablate run`") as raised:
        register_small(made)
    assert f"work/{file}" in str(raised.value)
    for redone in (folder, stage(made, made.trials[0], "evaluate")):
        assert str(redone.path / "record.json") in str(raised.value)
    assert (folder.path / "record.json").read_bytes() == before
    assert not (made.store / "mlflow.db").exists()


def test_bits_that_flipped_are_found(made):
    path = stage(made, made.trials[0], "pretrain").work / "model.safetensors"
    path.write_text(path.read_text().replace("all", "aII"))
    with pytest.raises(StoreError, match=r"work/model\.safetensors"):
        register_small(made)


def test_a_model_without_a_record_is_not_registered(made):
    (stage(made, made.trials[0], "pretrain").path / "record.json").unlink()
    with pytest.raises(StoreError, match="`ablate run`"):
        register_small(made)


def test_a_whole_model_is_registered(made, tmp_path):
    assert register_small(made) == OK
    client = MlflowClient(tracking_uri=f"sqlite:///{made.store / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'small'")
    assert version.tags["ablations.trial"] == made.trials[0].key
    there = client.download_artifacts(version.run_id, "model", str(tmp_path))
    assert (tmp_path / "model" / "model.safetensors").read_text() == "all of model.safetensors", there
