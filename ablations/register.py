"""``ablate register``: the model that won a sweep, or a named one, in MLflow's registry, to be loaded by name."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.ended import read_ended
from ablations.errors import OK, BadInput, StoreError, nearest
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.mlflow_access import mlflow_client, mlflow_errors
from ablations.store import StageFolder, Store
from ablations.tracking import Tracker

ALIAS = "best"
"""Alias of the version that was registered last: ``models:/NAME@best``."""

_MODEL = ("model.json", "model.safetensors")
_FOLDER = "model"
_FORBIDDEN = frozenset("'\"/:")
"""Forbidden in names of models: MLflow refuses the last two, and its filters break at the others."""


def register(
    sweep: str, trial: str | None, *, name: str | None, store: Path, tracking_uri: str | None, json_output: bool
) -> int:
    """Copy a trial's trained model to its run and register it; a trial registered before keeps its version.

    ``trial``: by default the finished one with the best objective. ``name``: of the model, by default the sweep's.
    Raises ``BadInput`` where there is no such trial or no model of it, ``StoreError`` where its files are damaged,
    ``TrackingError`` where MLflow cannot be written.
    """
    folder = sweep_folder(sweep, store)
    plan = json.loads((folder / "plan.json").read_bytes())
    planned = _chosen(folder, plan, trial)
    files = _model_files(store, planned)
    tracker = Tracker(tracking_uri, store)
    tracker.sync(folder)
    model = str(plan["name"]) if name is None else name
    if not model.strip() or set(model) & _FORBIDDEN:
        raise BadInput(f"{model!r}: a model's name must not be empty or contain any of {' '.join(sorted(_FORBIDDEN))}")
    with mlflow_errors(tracker.uri):
        client = mlflow_client(tracker.uri)
        version = _version(client, model, tracker.run(folder / "trials" / planned["key"]), planned, files)
        client.set_registered_model_alias(model, ALIAS, version)
    if json_output:
        print(json.dumps({"model": model, "version": int(version), "trial": planned["key"], "alias": ALIAS}))
    else:
        print(f"{model} version {version} is trial {planned['key']}; it loads by the name models:/{model}@{ALIAS}")
    return OK


def _chosen(folder: Path, plan: Mapping[str, Any], key: str | None) -> Mapping[str, Any]:
    """The plan's entry for the trial that is asked for, or that won."""
    ended = {one: record for one, record in read_ended(folder).items() if record.get("state") == "done"}
    done = [trial for trial in plan["trials"] if trial["key"] in ended]
    if not done:
        raise BadInput(f"{plan['name']}: no trial has finished yet, so there is no model to register")
    if key is not None:
        labels = {arm["key"]: arm["label"] for arm in plan["arms"]}
        names = {trial["key"]: f"{labels[trial['arm']]}:{trial['seed']}" for trial in done}
        found = [trial for trial in done if trial["key"].startswith(key) or names[trial["key"]] == key]
        if len(found) != 1:
            close = nearest(key, [*names, *names.values()])
            trouble = "several finished trials match" if found else "no finished trial has this key or ARM:SEED"
            listing = command("logs", plan["name"], store=folder.parent.parent)
            raise BadInput(
                f"{key}: {trouble}; `{listing}` lists trials with their keys"
                + (f"; did you mean {close}?" if close else "")
            )
        return found[0]
    scored = [trial for trial in done if ended[trial["key"]].get("objective") is not None]
    if not scored:
        raise BadInput(
            f"{plan['name']}: no finished trial has the objective {plan['objective']['metric']}; name a trial"
        )
    sign = 1 if plan["objective"]["direction"] == "maximize" else -1
    return max(scored, key=lambda trial: sign * ended[trial["key"]]["objective"])


def _model_files(store: Path, planned: Mapping[str, Any]) -> list[Path]:
    """The weights with their configuration, and the tokenizer that goes with them; all as they were written, since a
    registered model keeps what it was given. Raises ``BadInput``, ``StoreError``."""
    stages = {stage["kind"]: Store(store).stage(stage["kind"], stage["key"]) for stage in planned["stages"]}
    trained = stages["pretrain"]
    files = [trained.work / name for name in _MODEL]
    used = [trained]
    for kind in ("tokenizer", "world"):
        if kind in stages and (path := stages[kind].work / "tokenizer.json").is_file():
            files.append(path)
            used.append(stages[kind])
    for stage in used:
        if (damage := stage.damage()) is not None:
            raise StoreError(f"{stage.path / 'record.json'} {damage}; {_remedy(stage, stages['evaluate'])}")
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise BadInput(f"{missing}: missing; {_remedy(trained, stages['evaluate'])}")
    return files


def _remedy(stage: StageFolder, scored: StageFolder) -> str:
    """A trial that has its scores is done, whatever became of its weights; so its scores go as well."""
    records = [one.path / "record.json" for one in (stage, scored)]
    there = " and ".join(str(path) for path in records if path.exists())
    step = f"delete {there}, and " if there else ""
    return f"{step}`ablate run` with the sweep file redoes the stage and scores the trial again"


def _version(client: Any, model: str, run: str, planned: Mapping[str, Any], files: list[Path]) -> str:
    """The version that holds this trial's model; made if there is none."""
    if not client.search_registered_models(filter_string=f"name = '{model}'"):
        client.create_registered_model(model)
    for known in client.search_model_versions(f"run_id = '{run}'"):
        if known.name == model and known.tags.get("ablations.trial") == planned["key"]:
            return str(known.version)
    with tempfile.TemporaryDirectory() as place:
        for path in files:
            shutil.copy(path, place)
        client.log_artifacts(run, place, _FOLDER)
    source = f"{client.get_run(run).info.artifact_uri}/{_FOLDER}"
    tags = {"ablations.trial": planned["key"], "ablations.seed": str(planned["seed"])}
    return str(client.create_model_version(model, source=source, run_id=run, tags=tags).version)
