"""The ``corpus`` stage: index a file source once, so that training reads its samples at random by offset.

Writes ``index.npz`` (columns of ``index.Samples``), ``index.json`` (the files) and ``quarantine.jsonl``, one line for
each broken sample or damaged stretch: shard, member, reason, detail. The index of each finished file is kept under
``parts/``, named by the file's content, until all are done, so a stage that was killed goes on with the next file.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any
from zipfile import BadZipFile

import numpy as np

from mm1core.config import FilesConfig
from mm1core.data.fingerprint import combine, digest, expand, in_order
from mm1core.data.index import SPLITS, Samples, concatenate, save_arrays
from mm1core.data.shards import Broken, Scan, scan
from mm1core.errors import DataError, Interrupted
from mm1core.stages import CorpusStage
from mm1core.storage import write_atomically


def run(
    stage: CorpusStage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]
) -> dict[str, Any]:
    """Index the source. Result: samples in all and by split, broken ones by reason, the number of files.

    Raises ``DataError`` if a larger share than ``max_broken`` is broken, if nothing is left, or if the files are not
    those whose fingerprint the configuration holds.
    """
    key = f"data.sources.{stage.source}"

    def check() -> None:
        if reason := stop():
            raise Interrupted(reason)

    shards = []
    for path in expand(stage.files.paths, key=f"{key}.paths"):
        check()
        shards.append((path, digest(path)))
    shards = in_order(shards)
    found = combine([content for _, content in shards])
    if stage.files.fingerprint not in ("", found):
        raise DataError(
            f"{key}.paths: the content of the {len(shards)} files has changed since the sweep was read; read it again"
        )

    parts = [_part(path, work / "parts" / f"{content}.npz", stage.files, check) for path, content in shards]
    _write_quarantine(work / "quarantine.jsonl", [path for path, _ in shards], parts)
    samples = concatenate([part.samples for part in parts])
    faults = _count_faults(parts, good=len(samples.shard), size=sum(path.stat().st_size for path, _ in shards))
    _refuse_if_too_many(faults, stage, key=key, quarantine=work / "quarantine.jsonl")

    save_arrays(work / "index.npz", **samples.arrays())
    description = {
        "max_pixels": stage.files.max_pixels,
        "shards": [{"path": str(path), "size": path.stat().st_size} for path, _ in shards],
    }
    write_atomically(work / "index.json", lambda file: file.write(json.dumps(description, indent=1).encode()))
    rmtree(work / "parts")
    splits = np.bincount(samples.split, minlength=len(SPLITS))
    return {
        "samples": faults.good,
        **{split: int(count) for split, count in zip(SPLITS, splits, strict=True)},
        "broken": sum(faults.reasons.values()),
        "broken_by_reason": dict(sorted(faults.reasons.items())),
        "files": len(shards),
    }


def _part(path: Path, saved: Path, files: FilesConfig, check: Callable[[], None]) -> Scan:
    """What a file holds, from ``saved`` if it was read before."""
    try:
        with np.load(saved, allow_pickle=False) as arrays:
            columns = dict(arrays)
        rest = json.loads(columns.pop("rest").tobytes())
        return Scan(
            samples=Samples(**columns),
            broken=[Broken(**entry) for entry in rest["broken"]],
            lost_bytes=rest["lost_bytes"],
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile):
        check()  # missing or damaged: the file is read again
    part = scan(path, files, check=check)
    rest = json.dumps({"broken": [asdict(entry) for entry in part.broken], "lost_bytes": part.lost_bytes})
    save_arrays(saved, **part.samples.arrays(), rest=np.frombuffer(rest.encode(), np.uint8))
    return part


def _write_quarantine(target: Path, paths: Sequence[Path], parts: Sequence[Scan]) -> None:
    lines = [
        json.dumps({"shard": path.name, **asdict(entry)}, ensure_ascii=False)
        for path, part in zip(paths, parts, strict=True)
        for entry in part.broken
    ]
    content = "".join(f"{line}\n" for line in lines).encode(errors="replace")
    write_atomically(target, lambda file: file.write(content))


@dataclass(frozen=True, kw_only=True)
class _Faults:
    good: int
    reasons: Counter[str]
    unseen: int
    """Samples that the damaged stretches had room for, beyond one for each entry."""

    @property
    def broken(self) -> int:
        return sum(self.reasons.values()) + self.unseen

    @property
    def share(self) -> float:
        return self.broken / max(1, self.good + self.broken)


def _count_faults(parts: Sequence[Scan], *, good: int, size: int) -> _Faults:
    reasons = Counter(entry.reason for part in parts for entry in part.broken)
    lost = sum(part.lost_bytes for part in parts)
    mean = (size - lost) / max(1, good)
    return _Faults(good=good, reasons=reasons, unseen=int(lost / mean) if mean else 0)


def _refuse_if_too_many(faults: _Faults, stage: CorpusStage, *, key: str, quarantine: Path) -> None:
    if faults.good and faults.share <= stage.files.max_broken:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in faults.reasons.most_common()) or "the files are empty"
    if faults.unseen:
        reasons += f", room for about {faults.unseen} more in damaged stretches"
    found = f"{key}: {faults.broken} of {faults.good + faults.broken} samples are broken ({reasons}; see {quarantine})"
    if not faults.good:
        raise DataError(f"{found}; nothing is left to train on")
    needed = ceil(faults.share * 1000) / 1000
    raise DataError(
        f"{found}, a share of {faults.share:.3g} above {key}.max_broken={stage.files.max_broken}; repair the files or "
        f"raise {key}.max_broken to {needed:g}"
    )
