"""A plan without its stages: ``outline.json`` beside ``plan.json``, a tenth of its size.

For readers that only count or name trials. It says which ``plan.json`` it was made from; for another one it is ignored.
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
    """Labels of the arms, by key."""
    trials: Sequence[tuple[str, str, int]]
    """Trials in the plan's order: key, key of the arm, seed."""


def read_outline(sweep: Path) -> Outline:
    """The outline of the plan in a sweep's folder. Raises ``BadInput`` if that cannot be read."""
    kept = object_in(sweep / "outline.json")
    if kept is not None and kept.pop("of", None) == _stamp(sweep):
        return Outline(**kept)
    plan = object_in(sweep / "plan.json")
    if plan is None:
        raise BadInput(f"{sweep / 'plan.json'} cannot be read; `ablate run` writes it again")
    return Outline(**_content(plan))


def save_outline(plan: Mapping[str, Any], sweep: Path) -> None:
    """Write the outline of ``plan``, the content of ``plan.json``, which must be there. Raises ``OSError``."""
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
