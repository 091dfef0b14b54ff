"""What the store knows before a sweep runs: which of its stages are finished, and how long similar ones took."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ablations.border import Refused, check
from ablations.cost import Measured, Work, stage_work
from ablations.stages import Stage
from mm1core.config import Config
from mm1core.errors import ConfigError
from mm1core.stages import EncoderStage, EvaluateStage, PretrainStage, WorldStage

MOST_RECORDS = 20
"""Most records of a kind that are read for their times, the newest first."""


def finished_keys(store: Path, stages: Iterable[Stage]) -> set[str]:
    """Keys of the stages that have a record. Whether a record is sound is found out when it is used."""
    wanted: dict[str, set[str]] = {}
    for stage in stages:
        wanted.setdefault(stage.kind, set()).add(stage.key)
    found: set[str] = set()
    for kind, keys in wanted.items():
        for entry in _entries(store / kind):
            if entry.name in keys and os.path.exists(os.path.join(entry.path, "record.json")):
                found.add(entry.name)
    return found


def measured_stages(store: Path) -> dict[str, list[Measured]]:
    """Operations and seconds of finished stages, by kind. Records that cannot be understood are skipped."""
    return {kind: list(_measured(store, kind)) for kind in ("world", "encoder", "pretrain", "evaluate")}


def _measured(store: Path, kind: str) -> Iterator[Measured]:
    folders = sorted(_entries(store / kind), key=lambda entry: entry.stat().st_mtime, reverse=True)
    for entry in folders[:MOST_RECORDS]:
        record = _read(Path(entry.path))
        try:
            seconds = float(record["provenance"]["seconds"])
            if not record["provenance"].get("resumed") and seconds > 0:
                yield Measured(operations=_work(store, kind, record).operations, seconds=seconds)
        except (KeyError, TypeError, ValueError, Refused, ConfigError):
            continue


def _work(store: Path, kind: str, record: dict[str, Any]) -> Work:
    stage: Any
    match kind:
        case "world":
            stage, config = check(WorldStage, record["config"]), Config()
        case "encoder":
            stage = check(EncoderStage, record["config"])
            config = Config(image=stage.image, encoder=stage.encoder)
        case "pretrain":
            stage = check(PretrainStage, record["config"])
            config = _trained(stage)
        case _:
            stage = check(EvaluateStage, record["config"])
            trained = _read(store / "pretrain" / record["inputs"]["pretrain"])
            config = _trained(check(PretrainStage, trained["config"]), evaluation=stage.evaluation)
    return stage_work(Stage(kind=kind, key=record["key"], version=record["version"], config=stage, inputs={}), config)


def _trained(stage: PretrainStage, **more: Any) -> Config:
    return Config(
        image=stage.image,
        encoder=stage.encoder,
        connector=stage.connector,
        decoder=stage.decoder,
        data=stage.data,
        optimisation=stage.optimisation,
        training=stage.training,
        **more,
    )


def _read(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "record.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
