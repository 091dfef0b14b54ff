"""Writes a sweep's folder as training leaves it, step by step, for tests of tracking."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations.plan import Plan, Trial, make_plan, plan_document
from ablations.store import Store, write_json
from ablations.sweep_file import read_sweep

SWEEP = """
name: connector
title: Vision-language connectors
axes:
  connector.kind: {average_pool: average_pool, c_abstractor: c_abstractor}
  image.resolution, connector.num_tokens: {48px/9: [48, 9], 48px/4: [48, 4]}
design: grid
seeds: [0, 1]
set: {encoder.objective: clip, evaluation.every: 50}
"""
SCORES = {"eval/zero_shot": 0.25, "eval/four_shot": 0.5, "eval/few_shot/mean": 0.625, "eval/text_core": 0.125}
START = 1_790_000_000.0


class TrackedFolder:
    """A sweep in ``store/sweeps/<name>`` whose trials train when they are told to."""

    def __init__(self, store: Path, text: str = SWEEP) -> None:
        self.store = store
        store.mkdir(parents=True, exist_ok=True)
        file = store / "written.yaml"
        file.write_text(text)
        self.plan: Plan = make_plan(read_sweep(file))
        self.folder = Store(store).sweep(self.plan.sweep.name)
        self.folder.mkdir(parents=True)
        (self.folder / "sweep.yaml").write_text(text)
        write_json(self.folder / "plan.json", plan_document(self.plan))

    @property
    def trials(self) -> Sequence[Trial]:
        return self.plan.trials

    def train(self, trial: Trial, *, steps: int, every: int = 10, start: float = START, kind: str = "pretrain") -> None:
        """Bring a trial's spool up to ``steps``: values depend on the stage and the step, times on ``start`` as well.

        A spool that is longer is cut back and grows again, as that of a training that resumes.
        """
        path = self.spool(trial, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= steps]
        reached = json.loads(kept[-1])["step"] if kept else 0
        for step in range(reached + every, steps + 1, every):
            kept.append(json.dumps({"step": step, "time": start + step, "metrics": metrics(path, kind, step)}))
            if kind == "pretrain" and step % 50 == 0:
                scores = {name: value(path, name, step) for name in SCORES}
                kept.append(json.dumps({"step": step, "time": start + step + 0.5, "metrics": scores}))
        path.write_text("".join(line + "\n" for line in kept))

    def finish(self, trial: Trial, state: str = "done") -> None:
        """Write the records of a trial and of its stages."""
        done = state == "done"
        if done:
            for stage in trial.stages:
                folder = self.store / stage.kind / stage.key
                (folder / "work").mkdir(parents=True, exist_ok=True)
                record = {"kind": stage.kind, "key": stage.key, "provenance": PROVENANCE, "result": {}}
                if stage.kind == "world":
                    record["result"] = {"scenes": {"train": 6000, "validation": 400, "test": 600}}
                write_json(folder / "record.json", record)
            lines = [
                {"task": task, "item": f"test/{item}", "shots": shots, "prediction": 'red, "very"',
                 "references": ["red", "crimson"], "scores": {"value": 1.0, "exact": 0.5}}
                for task in ("colour", "digit") for shots in (0, 4) for item in range(20)
            ]  # fmt: skip
            path = self.store / "evaluate" / trial.key / "work" / "predictions.jsonl"
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        failure = {"class": "out_of_memory", "error": "MemoryError: all of it", "traceback_tail": "at line 3"}
        failure["stage"] = f"pretrain/{trial.stages[-2].key}"
        record = self.folder / "trials" / trial.key / "record.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(
            record,
            {
                "trial": trial.key,
                "arm": trial.arm.key,
                "seed": trial.seed,
                "state": state,
                "objective": SCORES["eval/few_shot/mean"] if done else None,
                "metrics": SCORES if done else {},
                "stages": {stage.kind: stage.key for stage in trial.stages},
                "failure": failure if state in ("failed", "diverged") else None,
                "seconds": 30.0,
            },
        )

    def run(self, trial: Trial, *, steps: int = 100, every: int = 10) -> None:
        """All of a trial's life at once."""
        self.train(trial, steps=steps + every, every=every, kind="encoder", start=START - 1000)
        self.train(trial, steps=steps, every=every)
        self.finish(trial)

    def write_report(self, text: str = "<html>all about it</html>") -> None:
        (self.folder / "report" / "figures").mkdir(parents=True, exist_ok=True)
        (self.folder / "report" / "index.html").write_text(text)
        (self.folder / "report" / "figures" / "effects.svg").write_text("<svg/>")

    def spool(self, trial: Trial, kind: str) -> Path:
        key = next(stage.key for stage in trial.stages if stage.kind == kind)
        return self.store / kind / key / "work" / "spool.jsonl"

    def expected(self, trial: Trial) -> set[tuple[str, int, float]]:
        """Every point that the trial's run must have: metric, step, value."""
        found = set()
        for kind in ("encoder", "pretrain"):
            for line in self.spool(trial, kind).read_text().splitlines() if self.spool(trial, kind).exists() else []:
                entry = json.loads(line)
                for name, number in entry["metrics"].items():
                    found.add((name.replace("eval/", "validation/"), entry["step"], number))
        record = self.folder / "trials" / trial.key / "record.json"
        if record.exists():
            last = max(step for name, step, _ in found if name == "train/loss")
            found |= {(name, last, number) for name, number in json.loads(record.read_text())["metrics"].items()}
        return found


PROVENANCE = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "host": "node-7",
    "command": "ablate run sweep.yaml",
    "versions": {"torch": "2.13.0"},
    "started": START,
    "finished": START + 400,
    "seconds": 400.0,
    "attempt": 1,
}


def metrics(path: Path, kind: str, step: int) -> dict[str, float]:
    names = ("loss", "accuracy") if kind == "encoder" else ("loss", "learning_rate", "gradient_norm")
    prefix = "encoder" if kind == "encoder" else "train"
    curves = {f"{prefix}/{name}": value(path, name, step) for name in names}
    return curves | {f"system/{prefix}_memory_gib": value(path, "memory", step)}


def value(path: Path, name: str, step: int) -> float:
    """The same whenever it is computed, and different for each stage, metric and step."""
    stage = path.parent.parent.name
    return int(hashlib.sha256(f"{stage}/{name}/{step}".encode()).hexdigest()[:6], 16) / 2**24


def points(database: Path, run: str) -> list[tuple[str, int, float]]:
    """Every point in a run, straight from MLflow's SQLite: metric, step, value; one entry for each row."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection:
        rows: list[Any] = connection.execute(
            "SELECT key, step, value FROM metrics WHERE run_uuid = ? ORDER BY key, step", [run]
        ).fetchall()
    return [(key, step, number) for key, step, number in rows]
