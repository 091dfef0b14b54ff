"""What one MLflow run is to show, and how it is written down. Imports no MLflow."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

State = Literal["running", "stopped", "done", "pruned", "failed", "diverged"]


@dataclass(frozen=True, kw_only=True)
class Point:
    metric: str
    value: float
    time: int
    """Milliseconds since 1970."""
    step: int


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a training learned from: a micro world, or the corpus of one source."""

    name: str
    kind: str
    key: str
    samples: Mapping[str, int]
    """Number of samples by split."""


@dataclass(frozen=True, kw_only=True)
class RunContent:
    """Everything that one run shows."""

    name: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    points: tuple[Point, ...]
    """For each metric, in the order of steps, with each step once."""
    texts: Mapping[str, str]
    """Artifacts by name."""
    files: Mapping[str, Path]
    """Further artifacts by name, copied as they are."""
    contents: Mapping[str, bytes]
    """Further artifacts by name, made for the run."""
    data: tuple[Data, ...]
    state: State
    started: int | None
    """Milliseconds since 1970; ``None`` if it is not known."""
    ended: int | None


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as dotted key to text."""
    found: dict[str, str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return found


def as_yaml(config: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(config, out)
    return out.getvalue()


def as_table(sample: list[str]) -> str:
    """Predictions as CSV; empty if there are none."""
    if not sample:
        return ""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["task", "shots", "item", "prediction", "references", "scores"])
    for line in map(json.loads, sample):
        scores = " ".join(f"{name}={score:.3g}" for name, score in line["scores"].items())
        references = " | ".join(map(str, line["references"]))
        table.writerow([line["task"], line["shots"], line["item"], line["prediction"], references, scores])
    return out.getvalue()


def milliseconds(seconds: float) -> int:
    """A time as MLflow counts it."""
    return round(seconds * 1000)


def digest(value: Any) -> str:
    """The digest of a value as JSON."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
