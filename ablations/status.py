"""``ablate status``: how far a sweep is, from its folders alone. Reads only, and needs nobody to be running."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.ended import read_ended
from ablations.errors import OK, TRIALS_FAILED, BadInput
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.lease import holder
from ablations.progress import in_words
from ablations.snapshot import STATES, Status, last_spooled, read_running

_MOST_LINES = 20
"""Failures and running jobs printed; ``--json`` has all."""


def status(sweep: str, *, store: Path, json_output: bool) -> int:
    """Print how the sweep of this name (or of the sweep file of that name) stands.

    Returns ``TRIALS_FAILED`` where trials failed or diverged, else ``OK``. Raises ``BadInput`` for an unknown sweep.
    """
    folder = sweep_folder(sweep, store)
    plan = _object(folder / "plan.json")
    if plan is None:
        raise BadInput(f"{folder / 'plan.json'} cannot be read; `ablate run` writes it anew")
    owner = holder(folder)
    jobs = read_running(folder, store) if owner is not None else ()
    active = {job.name.removeprefix("trial-") for job in jobs if job.name.startswith("trial-")}
    ended = read_ended(folder)
    trials = [_trial(trial, ended.get(trial["key"], {}), active) for trial in plan["trials"]]
    counts = dict.fromkeys(STATES, 0)
    for trial in trials:
        counts[trial["state"]] += 1
    found = Status(name=plan["name"], counts=counts, running=jobs)
    labels = {arm["key"]: arm["label"] for arm in plan["arms"]}
    if json_output:
        print(json.dumps(_document(found, plan, trials, labels, str(owner) if owner else None), ensure_ascii=False))
    else:
        _print(found, plan, trials, labels, str(owner) if owner else None)
        if counts["failed"] + counts["diverged"]:
            print(f"`{command('logs', found.name, 'KEY', store=store)}` shows why")
    return TRIALS_FAILED if counts["failed"] + counts["diverged"] else OK


def _trial(planned: Mapping[str, Any], record: Mapping[str, Any], active: set[str]) -> dict[str, Any]:
    state = "running" if planned["key"] in active else record.get("state", "waiting")
    return {
        "key": planned["key"],
        "arm": planned["arm"],
        "seed": planned["seed"],
        "state": state if state in STATES else "waiting",
        "objective": record.get("objective"),
        "seconds": record.get("seconds"),
        "failure": record.get("failure"),
    }


def _document(
    found: Status, plan: Mapping[str, Any], trials: list[dict[str, Any]], labels: Mapping[str, str], owner: str | None
) -> dict[str, Any]:
    running = []
    for job in found.running:
        spooled = last_spooled(job.work)
        running.append({
            "name": job.name,
            "label": job.label,
            "stage": f"{job.kind}/{job.key}",
            "step": spooled.step if spooled else None,
            "steps": job.steps,
            "loss": spooled.loss if spooled else None,
            "started": job.started,
        })  # fmt: skip
    return {
        "name": found.name,
        "title": plan["title"],
        "running_in": owner,
        "states": dict(found.counts),
        "running": running,
        "trials": [{**trial, "label": labels[trial["arm"]]} for trial in trials],
    }


def _print(
    found: Status, plan: Mapping[str, Any], trials: list[dict[str, Any]], labels: Mapping[str, str], owner: str | None
) -> None:
    print(f"{found.name}: {plan['title']}" if plan["title"] else found.name)
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    print(f"{found.ended} of {found.total} trials have ended: {counts}" if found.total else "no trials yet")
    if owner is not None:
        print(f"run by {owner}")
    elif found.counts["waiting"] or found.counts["failed"]:
        print(
            f"nobody runs it; `ablate run` with the sweep file goes on (a copy is {found.name}/sweep.yaml in the store)"
        )
    for job in found.running[:_MOST_LINES]:
        print(f"  {job.label}: {job.kind} {in_words(job)}".rstrip())
    lost = [trial for trial in trials if trial["state"] in ("failed", "diverged")]
    for trial in lost[:_MOST_LINES]:
        failure = trial["failure"] or {}
        where = f" in {failure['stage']}" if "stage" in failure else ""
        why = f" ({failure.get('class')}): {failure.get('error')}" if failure else ""
        print(f"  {labels[trial['arm']]} · seed {trial['seed']} [{trial['key']}] {trial['state']}{where}{why}")
    if len(lost) > _MOST_LINES:
        print(f"  … and {len(lost) - _MOST_LINES} more")


def _object(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
