"""A store made from what MLflow has of a sweep, to make its report where the records themselves are out of reach.

Only reads; ``tracking.py`` writes. MLflow is imported when there is something to read.
"""

import tempfile
from pathlib import Path
from typing import Any

from ablations.errors import BadInput, nearest
from ablations.mlflow_access import all_runs, mlflow_client, mlflow_errors, without_password
from ablations.record_archive import NAME, BadArchive, unpack


def restore(uri: str, sweep: str, store: Path) -> tuple[Path, list[str]]:
    """Write the plan and the records of a sweep that MLflow at ``uri`` has into ``store``, an empty folder.

    Returns the sweep's folder, and sentences that say what MLflow does not have. Raises ``BadInput`` where it has no
    such sweep, ``TrackingError`` where it cannot be read.
    """
    with mlflow_errors(uri):
        _refuse_absent_file(uri)
        client = mlflow_client(uri)
        experiment = client.get_experiment_by_name(sweep)
        if experiment is None:
            known = sorted(one.name for one in client.search_experiments())
            close = nearest(sweep, known)
            raise BadInput(
                f"{sweep}: MLflow has no experiment of this name; there are: {', '.join(known)}"
                + (f"; did you mean {close!r}?" if close else "")
            )
        runs = all_runs(client, experiment.experiment_id)
        sweeps = [run for run in runs if run.data.tags.get("ablations.kind") == "sweep"]
        above = max(sweeps, key=lambda run: run.info.start_time, default=None)
        folder = store / "sweeps" / sweep
        folder.mkdir(parents=True)
        plan = None if above is None else _artifact(client, above.info.run_id, "plan.json")
        if above is None or plan is None:
            raise BadInput(f"{sweep}: the experiment has no run with a plan; `ablate sync` writes one")
        (folder / "plan.json").write_bytes(plan)
        own = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == above.info.run_id]
        problems = _unpack_trials(client, own, store)
        if len(sweeps) > 1:
            problems.append(f"MLflow has {len(sweeps)} sweeps of this name, from as many stores; this is the newest")
        return folder, problems


def _refuse_absent_file(uri: str) -> None:
    """MLflow would make a database of a name that was mistyped."""
    from sqlalchemy import make_url

    if not uri.startswith("sqlite"):
        return
    file = make_url(uri).database
    if not file or not (file.startswith("file:") or Path(file).is_file()):
        raise BadInput(
            f"{without_password(uri)}: there is no such database; allowed is one that `ablate sync` wrote, such as "
            "sqlite:///STORE/mlflow.db (--from-mlflow)"
        )


def _unpack_trials(client: Any, runs: list[Any], store: Path) -> list[str]:
    ended = [run for run in runs if run.data.tags.get("ablations.state") not in ("running", "stopped")]
    lacking, problems = 0, []
    for run in ended:
        content = _artifact(client, run.info.run_id, NAME)
        if content is None:
            lacking += 1
            continue
        try:
            unpack(content, store)
        except BadArchive as problem:
            problems.append(f"{run.info.run_name}: its {NAME} {problem}")
    if lacking:
        problems.append(
            f"{lacking} of {len(ended)} ended trials have no {NAME} in MLflow: an earlier version wrote them; "
            "`ablate sync`, where the records are, adds it"
        )
    return problems


def _artifact(client: Any, run: str, name: str) -> bytes | None:
    """``None`` where the run has no such artifact."""
    if not any(one.path == name for one in client.list_artifacts(run)):
        return None
    with tempfile.TemporaryDirectory() as place:
        return Path(client.download_artifacts(run, name, place)).read_bytes()
