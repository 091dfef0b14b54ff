"""A cheap stage of its own kind for the dispatcher's tests: it trains nothing, but behaves as training does.

Its state is a digest that every step changes. It saves checkpoints, continues from the newest, keeps a spool, stops
on request, and its result depends on its inputs and on every step, so that a step lost or repeated shows.
"""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ablations.arms import Arm
from ablations.identity import stage_key
from ablations.plan import Plan, Trial
from ablations.stages import Stage, StageConfig
from ablations.sweep import Grid, Objective, Sweep
from mm1core.config import Config, execution
from mm1core.errors import DataError, Diverged, Interrupted
from mm1core.stages import KINDS, StageKind


@dataclass(frozen=True, kw_only=True)
class TallyStage:
    name: str
    steps: int = 3
    step_seconds: float = execution(0.0)
    fault: str = execution("")
    """What goes wrong at the second step: ``raise``, ``data``, ``memory``, ``diverge``, ``exit``, ``vanish``, ``die``,
    ``die once``, ``hang``, ``fill``."""


def run(stage: TallyStage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]) -> dict[str, Any]:
    checkpoints = work / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    state, done = stage.name, 0
    for role in sorted(inputs):
        state = digest(state + (inputs[role] / "digest").read_text())
    saved = sorted(checkpoints.glob("step-*.json"))
    if saved:
        state, done = json.loads(saved[-1].read_text())
    for step in range(done + 1, stage.steps + 1):
        if step == 2:
            go_wrong(stage.fault, work)
        state = digest(f"{state} {step}")
        with (work / "spool.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "time": time.time(), "metrics": {"train/loss": 1 / step}}) + "\n")
        time.sleep(stage.step_seconds)
        draft = checkpoints / "draft"
        draft.write_text(json.dumps([state, step]))
        os.replace(draft, checkpoints / f"step-{step:08d}.json")
        if (reason := stop()) is not None and step < stage.steps:
            raise Interrupted(reason)
    (work / "digest").write_text(state)
    return {"digest": state, "metrics": {"score": int(state[:4], 16) / 65536}}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def go_wrong(fault: str, work: Path) -> None:
    match fault:
        case "raise":
            raise RuntimeError(f"wrong on purpose in {work}")
        case "data":
            raise DataError("no items")
        case "memory":
            raise MemoryError
        case "diverge":
            raise Diverged("step 2: the loss is nan")
        case "exit":
            os._exit(3)
        case "vanish":
            os._exit(0)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "die once":
            try:
                (work / "died").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(600)
        case "fill":
            (work / "large").write_bytes(bytes(1 << 20))


for kind in ("tally", "training"):
    KINDS[kind] = StageKind(config=TallyStage, version=1, target="tally:run")


def tally(name: str, inputs: Sequence[Stage] = (), *, kind: str = "tally", **settings: Any) -> Stage:
    config = TallyStage(name=name, **settings)
    roles = {f"{stage.kind}:{i}": stage.key for i, stage in enumerate(inputs)}
    key = stage_key(kind=kind, version=1, config=config, inputs=roles)
    return Stage(kind=kind, key=key, version=1, config=cast(StageConfig, config), inputs=roles)


def arm(name: str) -> Arm:
    return Arm(key=f"arm-{name}", label=name, values={}, set={}, varied=(), baseline=False, config=Config())


def plan(chains: Mapping[tuple[str, int], Sequence[Stage]], name: str = "drill") -> Plan:
    """A sweep of chains of stages, by arm and seed."""
    arms = {label: arm(label) for label, _ in chains}
    sweep = Sweep(
        name=name,
        title=name,
        document=cast(Any, None),
        settings={},
        axes=(),
        design=Grid(),
        objective=Objective(metric="score"),
        seeds=tuple(sorted({seed for _, seed in chains})),
    )
    trials = tuple(
        Trial(key=stages[-1].key, arm=arms[label], seed=seed, stages=tuple(stages))
        for (label, seed), stages in chains.items()
    )
    return Plan(sweep=sweep, arms=tuple(arms.values()), trials=trials)


def drill(arms: int = 3, seeds: int = 2, **settings: Any) -> Plan:
    """One stage for all, one for each seed, and two for each trial."""
    root = tally("root", steps=2)
    middle = {seed: tally(f"middle {seed}", [root], steps=3) for seed in range(seeds)}
    chains = {}
    for number in range(arms):
        for seed in range(seeds):
            train = tally(f"train {number} {seed}", [root, middle[seed]], kind="training", **settings)
            score = tally(f"score {number} {seed}", [root, train], steps=1)
            chains[f"arm {number}", seed] = (root, middle[seed], train, score)
    return plan(chains)
