"""What MLflow is to show of a sweep, read from its folder: one run for the sweep, and below it one for each trial.

Reads only, and imports no MLflow. A trial has a run as soon as it has trained or ended.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ablations import record_archive
from ablations.ended import read_trial
from ablations.lease import holder
from ablations.run_content import Data, Point, RunContent, State, as_table, as_yaml, digest, flat, milliseconds
from ablations.snapshot import read_running
from mm1core import spool
from mm1core.world.scene import SPLITS

SAMPLES = 4
"""Predictions shown for each task and number of shots."""

LAYOUT = 3
"""Version of what a trial's run shows; with another number, all runs are looked through again. 2: ``records.zip``. 3:
its data."""

_HEADLINES = ("eval/zero_shot", "eval/four_shot", "eval/eight_shot", "eval/text_core")


@dataclass(frozen=True, kw_only=True)
class TrackedSweep:
    """A sweep's folder, as far as it can be tracked."""

    folder: Path
    store: Path
    plan: Mapping[str, Any]
    alive: bool
    """Whether somebody runs it, or jobs of it are under way; if not, what has not ended has stopped."""

    @classmethod
    def read(cls, folder: Path, store: Path) -> "TrackedSweep":
        """Read a sweep's folder. Raises ``OSError``, ``ValueError`` where there is no plan."""
        alive = holder(folder) is not None or any(read_running(folder, store, owned=False))
        return cls(folder=folder, store=store, plan=json.loads((folder / "plan.json").read_bytes()), alive=alive)

    @property
    def name(self) -> str:
        return str(self.plan["name"])

    def trials(self) -> Iterator["TrackedTrial"]:
        """The trials that have something to show."""
        arms = {arm["key"]: arm for arm in self.plan["arms"]}
        for trial in self.plan["trials"]:
            tracked = TrackedTrial(sweep=self, trial=trial, arm=arms[trial["arm"]])
            if tracked.begun():
                yield tracked

    def seen(self) -> dict[str, Any]:
        """A value that changes when ``content`` does, and costs much less."""
        files = {name: _stamp(path) for name, path in self._files().items()}
        records = {trial["key"]: _stamp(self._record(trial)) for trial in self.plan["trials"]}
        return {"files": digest(files), "records": digest(records), "alive": self.alive}

    def content(self) -> RunContent:
        """The run of the sweep itself: what it is, and its report."""
        plan = self.plan
        baseline = next((arm["label"] for arm in plan["arms"] if arm["baseline"]), None)
        records = [read_trial(self._record(trial)) for trial in plan["trials"]]
        states = [record["state"] for record in records if record]
        provenances = [_provenance(self.store, trial) for trial in plan["trials"]]
        known = [provenance for provenance in provenances if provenance]
        over = len(states) == len(plan["trials"]) and plan["trials"] != []
        tags = {
            "ablations.design": plan["design"],
            "ablations.objective": plan["objective"]["metric"],
            "ablations.seeds": ", ".join(map(str, plan["seeds"])),
            "ablations.trials": f"{len(plan['trials'])}",
            **{f"ablations.trials.{state}": str(states.count(state)) for state in sorted(set(states))},
            "mlflow.note.content": plan["title"],
        }
        if baseline is not None:
            tags["ablations.baseline"] = baseline
        return RunContent(
            name=self.name,
            tags=tags,
            parameters={},  # they can never be changed, but a sweep's file can
            points=(),
            texts={},
            files=self._files(),
            contents={},
            data=(),
            state=("done" if set(states) & {"done", "pruned"} else "failed") if over else self.unfinished,
            started=min((milliseconds(one["started"]) for one in known), default=None),
            ended=max((milliseconds(one["finished"]) for one in known), default=None) if over else None,
        )

    @property
    def unfinished(self) -> Literal["running", "stopped"]:
        """The state of what has not ended."""
        return "running" if self.alive else "stopped"

    def columns(self) -> list[str]:
        """Columns of the table of trials, in MLflow's words: where each trial stands on the axes, and its scores."""
        scores = dict.fromkeys([self.plan["objective"]["metric"], *_HEADLINES])
        axes = [f"tags.`{axis_tag(axis['name'])}`" for axis in self.plan["axes"]]
        return [*axes, "tags.`ablations.seed`", *(f"metrics.`{score}`" for score in scores)]

    def _record(self, trial: Mapping[str, Any]) -> Path:
        return self.folder / "trials" / trial["key"] / "record.json"

    def _files(self) -> dict[str, Path]:
        report = self.folder / "report"
        files = {name: self.folder / name for name in ("sweep.yaml", "plan.json") if (self.folder / name).is_file()}
        found = sorted(path for path in report.rglob("*") if path.is_file() and not path.name.startswith("."))
        return files | {f"report/{path.relative_to(report).as_posix()}": path for path in found}


@dataclass(frozen=True, kw_only=True)
class TrackedTrial:
    sweep: TrackedSweep
    trial: Mapping[str, Any]
    arm: Mapping[str, Any]

    @property
    def key(self) -> str:
        return str(self.trial["key"])

    @property
    def folder(self) -> Path:
        return self.sweep.folder / "trials" / self.key

    def begun(self) -> bool:
        return (self.folder / "record.json").exists() or self._spool("pretrain").exists()

    def seen(self) -> dict[str, Any]:
        """A value that changes when ``content`` does, and costs much less."""
        return {
            "layout": LAYOUT,
            "plan": digest([self.arm, self.trial, self.sweep.plan.get("base")]),
            "record": (record := _stamp(self.folder / "record.json")),
            "unfinished": self.sweep.unfinished if record is None else None,
            **{kind: _stamp(self._spool(kind)) for kind in ("encoder", "pretrain")},
            "archive": None if record is None else digest(self._archived()),
        }

    def content(self) -> RunContent:
        record = read_trial(self.folder / "record.json")
        provenance = _provenance(self.sweep.store, self.trial)
        trained = list(self._points("pretrain"))
        points = [*self._points("encoder"), *trained]
        state: State = record["state"] if record else self.sweep.unfinished
        ended = milliseconds(provenance["finished"]) if provenance else max((one.time for one in points), default=None)
        if record:
            last = max((one.step for one in trained), default=0)
            scores = {name: value for name, value in record["metrics"].items() if value is not None}
            time = ended or milliseconds((self.folder / "record.json").stat().st_mtime)
            points += [Point(metric=name, value=value, time=time, step=last) for name, value in scores.items()]
        config = self._config()
        sample = self._sample() if state == "done" else []
        texts = {"config.yaml": as_yaml(config), "predictions.csv": as_table(sample)}
        failure = (record or {}).get("failure") or {}
        if failure:
            texts["failure.txt"] = "\n".join(filter(None, (failure["error"], failure.get("traceback_tail"))))
        return RunContent(
            name=f"{self.arm['label']} · seed {self.trial['seed']}",
            tags=self._tags(state, provenance, failure),
            parameters=flat(config),
            points=tuple(points),
            texts={name: text for name, text in texts.items() if text},
            files={},
            contents={} if record is None else {record_archive.NAME: self._archive(sample)},
            data=tuple(self._data()),
            state=state,
            started=min((one.time for one in trained), default=None),
            ended=None if state == "running" else ended,
        )

    def _archived(self) -> dict[str, list[int] | None]:
        """What the archive is made of: a stage that is done again, because its record was damaged, need not change the
        trial's record."""
        sources = record_archive.sources(self.sweep.folder, self.sweep.store, self.trial)
        return {name: _stamp(path) for name, path in sources.items()}

    def _archive(self, sample: list[str]) -> bytes:
        return record_archive.pack(self.sweep.folder, self.sweep.store, self.trial, "".join(sample))

    def _tags(self, state: State, provenance: Mapping[str, Any] | None, failure: Mapping[str, Any]) -> dict[str, str]:
        tags = {
            "ablations.arm": self.arm["label"],
            "ablations.arm_key": self.arm["key"],
            "ablations.baseline": "true" if self.arm["baseline"] else "false",
            "ablations.seed": str(self.trial["seed"]),
            "ablations.state": state,
            **{axis_tag(name): label for name, label in self.arm["values"].items()},
            **{f"ablations.stage.{stage['kind']}": stage["key"] for stage in self.trial["stages"]},
        }
        if provenance:
            tags["ablations.host"] = str(provenance["host"])
            if provenance.get("commit"):
                tags["ablations.commit"] = provenance["commit"] + (" (changed)" if provenance.get("dirty") else "")
                tags["mlflow.source.git.commit"] = provenance["commit"]
            tags["mlflow.source.name"] = provenance["command"]
        if failure:
            tags["ablations.failure"] = f"{failure['class']}: {failure['error']}"
        return tags

    def _config(self) -> dict[str, Any]:
        """The resolved configuration: the base, with what the arm's axes set."""
        config = json.loads(json.dumps(self.sweep.plan.get("base", {})))
        for key, value in self.arm["set"].items():
            section = config
            *above, name = key.split(".")
            for part in above:
                section = section.setdefault(part, {})
            section[name] = value
        return {**config, "seed": self.trial["seed"]}

    def _points(self, kind: str) -> Iterator[Point]:
        """The points in the spool of a stage. Scores on the way are of the validation split, so they go under that
        name."""
        reached: dict[str, int] = {}
        for line in spool.read(self._spool(kind)):
            for name, value in line["metrics"].items():
                metric = f"validation/{name.removeprefix('eval/')}" if name.startswith("eval/") else name
                if line["step"] > reached.get(metric, -1):
                    reached[metric] = line["step"]
                    yield Point(metric=metric, value=value, time=milliseconds(line["time"]), step=line["step"])

    def _data(self) -> Iterator[Data]:
        stages = self.trial["stages"]
        roles = {key: role for stage in stages for role, key in stage["inputs"].items()}
        for stage in stages:
            kind, key = stage["kind"], stage["key"]
            if kind not in ("world", "corpus"):
                continue
            result = (_read(self.sweep.store / kind / key / "record.json") or {}).get("result", {})
            counts = result.get("scenes", result)
            samples: dict[str, int] = {split: counts[split] for split in SPLITS if split in counts}
            if samples:
                yield Data(name=roles[key].removeprefix("corpus:"), kind=kind, key=key, samples=samples)

    def _sample(self) -> list[str]:
        """The first lines of the predictions of each task and number of shots, as they stand in the file."""
        shown: Counter[tuple[str, int]] = Counter()
        path = self.sweep.store / "evaluate" / self.key / "work" / "predictions.jsonl"
        if not path.exists():
            return []
        sample = []
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                entry = json.loads(line)
                place = (entry["task"], entry["shots"])
                shown[place] += 1
                if shown[place] <= SAMPLES:
                    sample.append(line)
        return sample

    def _spool(self, kind: str) -> Path:
        key = next((stage["key"] for stage in self.trial["stages"] if stage["kind"] == kind), "none")
        return self.sweep.store / kind / key / "work" / "spool.jsonl"


def axis_tag(name: str) -> str:
    """The tag that says where a trial stands on an axis; MLflow allows no comma in it."""
    return f"axis.{name.replace(', ', '/')}"


def _provenance(store: Path, trial: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Who made the trial's scores: the provenance of its last stage, from the start of its training."""
    found = [(_read(store / stage["kind"] / stage["key"] / "record.json") or {}).get("provenance") for stage in
             trial["stages"] if stage["kind"] in ("pretrain", "evaluate")]  # fmt: skip
    known = [one for one in found if one]
    return {**known[-1], "started": known[0]["started"]} if known else None


def _stamp(path: Path) -> list[int] | None:
    """Size and time of a file: if they differ, so does the content."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
