"""Several sweeps as one, so that one report compares them: every arm under its sweep's name, the sweep as an axis.

Arms of two sweeps with the same values on all other axes then give the effect of the sweep, and the effects of each
sweep's own axes stay as they are. Values are the same if they set the same, whatever each sweep calls them. The first
sweep's baseline is the baseline. An arm's settings are its values of all keys on which the whole configurations differ,
since sweeps need not share their base.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from reports.configuration import leaves
from reports.records import SweepRecords, Trial

AXIS = "sweep"
"""The name of the axis that says which sweep an arm belongs to."""


def merge(sweeps: Sequence[SweepRecords]) -> SweepRecords:
    """One sweep made of several from one store, in their order. Their names must differ."""
    names = [str(records.plan["name"]) for records in sweeps]
    whole = {key for records in sweeps for arm in records.plan["arms"] for key in arm["set"]}
    configurations = {
        _key(name, arm["key"]): leaves(records.plan.get("base") or {}, whole=whole) | arm["set"]
        for name, records in zip(names, sweeps, strict=True)
        for arm in records.plan["arms"]
    }
    differing = _differing(list(configurations.values()))
    shown = _shown_values(sweeps)
    arms = [
        {
            **arm,
            "key": _key(name, arm["key"]),
            "label": f"{name}: {arm['label']}",
            "values": {
                AXIS: name,
                **{axis: shown.get((name, axis, label), label) for axis, label in arm["values"].items()},
            },
            "set": {key: configurations[_key(name, arm["key"])].get(key) for key in differing},
            "varied": [AXIS, *arm["varied"]],
            "baseline": bool(arm["baseline"]) and name == names[0],
        }
        for name, records in zip(names, sweeps, strict=True)
        for arm in records.plan["arms"]
    ]
    trials = tuple(
        Trial(
            key=trial.key,
            arm=_key(name, trial.arm),
            seed=trial.seed,
            state=trial.state,
            stages=trial.stages,
            failure=trial.failure,
            problem=trial.problem,
        )
        for name, records in zip(names, sweeps, strict=True)
        for trial in records.trials
    )
    first = sweeps[0].plan
    plan = {
        **first,
        "name": "+".join(names),
        "title": "; ".join(str(records.plan["title"] or records.plan["name"]) for records in sweeps),
        "design": "comparison",
        "seeds": sorted({seed for records in sweeps for seed in records.plan["seeds"]}),
        "figures": [],
        "axes": [
            {"name": AXIS, "keys": [], "values": [{"label": name, "set": {}} for name in names]},
            *_axes(sweeps, shown),
        ],
        "base": {},
        "arms": arms,
    }
    digest = hashlib.sha256(" ".join(records.digest for records in sweeps).encode()).hexdigest()
    stages = {place: record for records in sweeps for place, record in records.stages.items()}
    return SweepRecords(plan=plan, trials=trials, stages=stages, store=sweeps[0].store, digest=digest)


def _key(sweep: str, arm: str) -> str:
    return f"{sweep}/{arm}"


def _shown_values(sweeps: Sequence[SweepRecords]) -> dict[tuple[str, str, str], str]:
    """What a value is called here, by sweep, axis and its label there. Different values of one label cannot share it:
    the later one gets its sweep's name."""
    shown: dict[tuple[str, str, str], str] = {}
    known: dict[str, list[tuple[Any, str]]] = {}
    for records in sweeps:
        name = str(records.plan["name"])
        for axis in records.plan["axes"]:
            values = known.setdefault(axis["name"], [])
            for value in axis["values"]:
                label = next((label for settings, label in values if settings == value["set"]), None)
                if label is None:
                    taken = any(label == value["label"] for _, label in values)
                    label = f"{value['label']} ({name})" if taken else value["label"]
                    values.append((value["set"], label))
                shown[name, axis["name"], value["label"]] = label
    return shown


def _axes(sweeps: Sequence[SweepRecords], shown: Mapping[tuple[str, str, str], str]) -> list[dict[str, Any]]:
    """Every axis once, with the values of all sweeps; the value of its sweep's baseline is first, as the reference."""
    axes: dict[str, dict[str, Any]] = {}
    values: dict[str, dict[str, Any]] = {}
    for records in sweeps:
        baseline = next((arm for arm in records.plan["arms"] if arm["baseline"]), None)
        for axis in records.plan["axes"]:
            name = axis["name"]
            axes.setdefault(name, axis)
            own = None if baseline is None else baseline["values"].get(name)
            first = [value for value in axis["values"] if value["label"] == own]
            for value in (*first, *axis["values"]):
                label = shown[str(records.plan["name"]), name, value["label"]]
                values.setdefault(name, {}).setdefault(label, {**value, "label": label})
    return [{**axis, "values": list(values[name].values())} for name, axis in axes.items()]


def _differing(configurations: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for configuration in configurations for key in configuration)
    return [key for key in keys if any(one.get(key) != configurations[0].get(key) for one in configurations[1:])]
