"""``ablate status``: how far a sweep has got, from its folders alone. Only reads, and needs no running process."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablations.errors import OK, TRIALS_FAILED
from ablations.folder import sweep_folder
from ablations.invocation import command
from ablations.labels import counted
from ablations.overview import Overview, read_overview
from ablations.progress import duration, in_words
from ablations.snapshot import last_spooled

_MOST_LINES = 20
"""Failures and running jobs printed; ``--json`` has all."""


def status(sweep: str, *, store: Path, json_output: bool) -> int:
    """Print how the sweep of this name (or of the sweep file of that name) stands.

    Returns ``TRIALS_FAILED`` where trials failed or diverged, else ``OK``. Raises ``BadInput`` for an unknown sweep.
    """
    found = read_overview(sweep_folder(sweep, store), store)
    counts = found.status.counts
    if json_output:
        print(json.dumps(_document(found), ensure_ascii=False))
    else:
        _print(found, store)
        if counts["failed"] + counts["diverged"]:
            print(f"`{command('logs', found.status.name, 'KEY', store=store)}` shows why")
    return TRIALS_FAILED if counts["failed"] + counts["diverged"] else OK


def _document(found: Overview) -> dict[str, Any]:
    running = []
    for job in found.status.running:
        spooled = last_spooled(job.work)
        running.append({
            "name": job.name,
            "label": job.label,
            "stage": f"{job.kind}/{job.key}",
            "step": spooled.step if spooled else None,
            "steps": job.steps,
            "loss": spooled.loss if spooled else None,
            "started": job.started,
            "node": job.node,
        })  # fmt: skip
    return {
        "name": found.status.name,
        "title": found.title,
        "running_in": found.owner,
        "submission": found.submission,
        "states": dict(found.status.counts),
        "queued": found.status.queued,
        "cut_short": dict(found.cut_short),
        "running": running,
        "trials": [{**trial, "label": found.labels[trial["arm"]]} for trial in found.trials],
    }


def _print(found: Overview, store: Path) -> None:
    status = found.status
    print(f"{status.name}: {found.title}" if found.title else status.name)
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    print(f"{status.ended} of {counted(status.total, 'trial')} ended: {counts}" if status.total else "no trials yet")
    _print_owner(found, store)
    for job in status.running[:_MOST_LINES]:
        node = f" on {job.node}" if job.node else ""
        print(f"  {job.label}: {job.kind}{node} {in_words(job)}".rstrip())
    if found.cut_short:
        outcomes = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in found.cut_short.items())
        print(f"attempts that ended early, including those that were retried: {outcomes}")
    lost = [trial for trial in found.trials if trial["state"] in ("failed", "diverged")]
    for trial in lost[:_MOST_LINES]:
        failure = trial["failure"] or {}
        where = f" in {failure['stage']}" if "stage" in failure else ""
        why = f" ({failure.get('class')}): {failure.get('error')}" if failure else ""
        label = found.labels[trial["arm"]]
        print(f"  {label} · seed {trial['seed']} [{trial['key']}] {trial['state']}{where}{why}")
    if len(lost) > _MOST_LINES:
        print(f"  … and {len(lost) - _MOST_LINES} more")
    if status.problem:
        print(status.problem)


def _print_owner(found: Overview, store: Path) -> None:
    status, submission = found.status, found.submission
    if submission is not None and not found.finished:
        looked = f", last checked {duration(time.time() - submission['looked'])} ago" if "looked" in submission else ""
        print(f"submitted to {submission['profile']}: {status.queued} queued{_reasons(submission)}{looked}")
        if not status.queued and not status.running:
            watch = command("watch", status.name, store=store)
            print(f"none of its jobs is running or waiting; `{watch}` continues it")
    elif found.owner is not None:
        print(f"run by {found.owner}")
    elif any(status.counts[state] for state in ("waiting", "failed", "cancelled")):
        verb = "run" if submission is None else "submit"
        copy = f"sweeps/{status.name}/sweep.yaml"
        print(f"not running; `ablate {verb}` with the sweep file continues it (a copy is {copy} in the store)")


def _reasons(submission: Mapping[str, Any]) -> str:
    """Why jobs have not begun, as of the last look."""
    words = [f"{reason} {count}" for reason, count in submission.get("reasons", {}).items()]
    if submission.get("unsent"):
        why = f" ({submission['held_up']})" if submission.get("held_up") else ""
        words.append(f"not in the queue yet {submission['unsent']}{why}")
    return f" ({', '.join(words)})" if words else ""
