"""What two runs of the same sweep must leave in equal form in their stores, whatever happened to one of them."""

import json
from pathlib import Path
from typing import Any

from mm1core import spool

_OF_THE_RUN = ("provenance", "seconds")
"""Parts of a record that tell how it came about: when, on which machine, at which attempt."""
_OF_THE_MACHINE = ("per_second", "step_seconds", "system/")
"""Metrics, by a part of their name, that tell how fast it went."""


def contents(store: Path) -> dict[str, Any]:
    """By path: records but for how they came about, weights, pictures, predictions, and the curves of trainings."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("*")):
        name = str(path.relative_to(store))
        if path.name == "record.json":
            record = json.loads(path.read_text())
            found[name] = {key: value for key, value in record.items() if key not in _OF_THE_RUN}
        elif path.name == "spool.jsonl":
            found[name] = [(line["step"], _learned(line["metrics"])) for line in spool.read(path)]
        elif path.suffix in (".safetensors", ".npz", ".npy") or path.name in ("predictions.jsonl", "questions.jsonl"):
            found[name] = path.read_bytes()
    return found


def differences(ours: Path, theirs: Path) -> list[str]:
    """One line for each thing that ``theirs``, the undisturbed store, has otherwise."""
    here, there = contents(ours), contents(theirs)
    changed = [name for name in there if here.get(name) != there[name]]
    told = [f"{name}: {'differs' if name in here else 'missing'}" for name in changed]
    return told + [f"{name}: is too many" for name in here.keys() - there.keys()]


def _learned(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not any(part in name for part in _OF_THE_MACHINE)}
