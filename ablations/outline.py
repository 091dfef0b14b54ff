"""What a plan comes to without its stages: ``outline.json`` beside ``plan.json``, a tenth of its size.

For whoever only counts or names trials. It says of which ``plan.json`` it is; of another one it is passed over.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.errors import BadInput
from ablations.store import object_in, write_changed


@dataclass(frozen=True, kw_only=True)
class Outline:
    name: str
    title: str
    design: str
    labels: Mapping[str, str]
    """Of the arms, by key."""
    trials: Sequence[tuple[str, str, int]]
    """In the plan's order: key, key of the arm, seed."""


def read_outline(sweep: Path) -> Outline:
    """Of the plan in a sweep's folder. Raises ``BadInput`` where that cannot be read."""
    kept = object_in(sweep / "outline.json")
    if kept is not None and kept.pop("of", None) == _stamp(sweep):
        return Outline(**kept)
    plan = object_in(sweep / "plan.json")
    if plan is None:
        raise BadInput(f"{sweep / 'plan.json'} cannot be read; `ablate run` writes it again")
    return Outline(**_content(plan))


def save_outline(plan: Mapping[str, Any], sweep: Path) -> None:
    """``plan`` is the content of ``plan.json``, which is there. Raises ``OSError``."""
    kept = {"of": _stamp(sweep), **_content(plan)}
    write_changed(sweep / "outline.json", json.dumps(kept, ensure_ascii=False) + "\n")


def _content(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": plan["name"],
        "title": plan["title"],
        "design": plan["design"],
        "labels": {arm["key"]: arm["label"] for arm in plan["arms"]},
        "trials": [(trial["key"], trial["arm"], trial["seed"]) for trial in plan["trials"]],
    }


def _stamp(sweep: Path) -> list[int]:
    """Changes whenever ``plan.json`` is written again, by whatever program."""
    found = (sweep / "plan.json").stat()
    return [found.st_size, found.st_mtime_ns]
