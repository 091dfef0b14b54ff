"""Where the numbers come from, and what in their origin could make a comparison unfair."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.records import SweepRecords, Trial


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How the scored trials' stages were made, according to their records; each value with the number of its stages."""

    commits: Mapping[str, int]
    """Twelve digits of the commit, with ``+ changes`` where the work tree was not clean."""
    versions: Mapping[str, Mapping[str, int]]
    """By package."""
    hosts: Mapping[str, int]
    meanings: Mapping[str, Mapping[str, int]]
    """Versions of each kind of stage."""
    splits: Mapping[str, int]
    """Splits of the data that the scores are of."""
    seconds: float
    """Time of all stages together, each counted once."""
    world: bool
    """Whether the data are the procedural micro world."""


def provenance(records: SweepRecords, trials: Sequence[Trial]) -> Provenance:
    """Collected from the stages of the scored trials, each stage once."""
    stages = dict.fromkeys(stage for trial in trials if trial.state == "done" for stage in trial.stages)
    commits: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    versions: dict[str, Counter[str]] = {}
    meanings: dict[str, Counter[str]] = {}
    splits: Counter[str] = Counter()
    seconds = 0.0
    for kind, key in stages:
        record = records.stages.get((kind, key), {})
        made: Mapping[str, Any] = record.get("provenance", {})
        commit = str(made.get("commit") or "unknown")[:12]
        commits[f"{commit}{' + changes' if made.get('dirty') else ''}"] += 1
        hosts[str(made.get("host") or "unknown")] += 1
        for package, version in (made.get("versions") or {}).items():
            versions.setdefault(package, Counter())[str(version)] += 1
        meanings.setdefault(kind, Counter())[str(record.get("version"))] += 1
        if split := record.get("config", {}).get("evaluation", {}).get("split"):
            splits[str(split)] += 1
        seconds += float(made.get("seconds") or 0.0)
    return Provenance(
        commits=_sorted(commits),
        versions={package: _sorted(versions[package]) for package in sorted(versions)},
        hosts=_sorted(hosts),
        meanings={kind: _sorted(meanings[kind]) for kind in sorted(meanings)},
        splits=_sorted(splits),
        seconds=seconds,
        world=any(kind == "world" for kind, _ in stages),
    )


def warnings(found: Provenance, trials: Sequence[Trial]) -> list[str]:
    """What a reader must know before believing a comparison, as sentences; most serious first."""
    said = []
    if len(found.splits) > 1:
        said.append(f"Compared trials were scored on different splits of the data: {_counted(found.splits)}.")
    elif "validation" in found.splits:
        said.append("Scores are of the validation split, which is for choosing settings.")
    if len(found.commits) > 1:
        said.append(f"Compared trials were made by different code: {_counted(found.commits)} (stages each).")
    elif any("changes" in commit for commit in found.commits):
        said.append("The code had uncommitted changes when the trials ran.")
    for kind, meanings in found.meanings.items():
        if len(meanings) > 1:
            said.append(f"Compared trials have {kind} stages of different meaning: version {_counted(meanings)}.")
    for package, versions in found.versions.items():
        if len(versions) > 1:
            said.append(
                f"Compared trials ran with different versions of {package}: {_counted(versions)} (stages each)."
            )
    lost = Counter(trial.state for trial in trials if trial.state not in ("done", "missing"))
    if lost:
        said.append(
            f"Without scores: {_counted(lost)}. The means of their arms are over the remaining seeds, "
            "which flatters an arm that fails on some."
        )
    missing = sum(trial.state == "missing" for trial in trials)
    if missing:
        said.append(f"Not finished yet: {missing} of {len(trials)} trials. The numbers will change.")
    seeds = Counter(trial.arm for trial in trials)
    if seeds and max(seeds.values()) == 1:
        said.append(
            "One seed per arm: intervals are over items alone, and a difference holds for these trained models only."
        )
    return said


def _counted(values: Mapping[str, int]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in values.items())


def _sorted(values: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0])))
