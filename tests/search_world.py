"""A search through the dispatcher for tests, with the real study and jobs that a fake launcher runs."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fake_launcher import FakeLauncher, Simulation, exited
from tracked_folder import PROVENANCE

from ablations.advance import Dispatcher
from ablations.plan import Plan, plan_document
from ablations.search import SearchDriver
from ablations.store import Store, write_json
from ablations.sweep import Sweep
from ablations.sweep_file import read_sweep
from slurm.launcher import EXIT_INTERRUPTED, Job, JobStatus, Resources

FILE = """
name: searched
axes:
  optimisation.learning_rate: {{low: 1.0e-4, high: 1.0e-1, log: true}}
  connector.kind: [average_pool, attention_pool, c_abstractor]
set: {{encoder.objective: none{more}}}
design: {{kind: search, arms: {arms}, sampler: {sampler}, pruner: {pruner}, seed: 1}}
seeds: {seeds}
objective: {{metric: eval/four_shot, direction: maximize}}
"""


class World:
    """A search whose trials score what ``score`` says of their pre-training configuration."""

    def __init__(self, root: Path, *, score: Callable[[dict[str, Any]], float], **options: Any) -> None:
        self.study_url = options.pop("study_url", None)
        self.warned: list[str] = []
        self.store = Store(root / "store")
        self.folder = self.store.sweep("searched")
        self.folder.mkdir(parents=True, exist_ok=True)
        defaults = {"arms": 6, "sampler": "random", "pruner": "none", "seeds": [0], "more": ""}
        (root / "sweep.yaml").write_text(FILE.format(**{**defaults, **options}))
        self.sweep: Sweep = read_sweep(root / "sweep.yaml")
        self.score = score
        self.launcher = FakeLauncher(self._simulate, capacity=2)
        self.trained: list[str] = []
        self.ahead = 0
        """Most arms that were under way together."""

    def run(self, *, passes: int = 500) -> Dispatcher:
        """Until the end, or as many passes."""
        return list(itertools.islice(self.passes(), passes))[-1]

    def passes(self) -> Iterator[Dispatcher]:
        """A pass at a time, to the end."""
        search = SearchDriver(
            self.sweep,
            self.folder,
            store=self.store.root,
            save=self._save,
            warn=self.warned.append,
            study_url=self.study_url,
        )
        plan = search.plan()
        self._save(plan)
        dispatcher = Dispatcher(
            plan,
            store=self.store,
            launcher=self.launcher,
            resources=Resources(),
            provenance=dict,
            clock=lambda: self.launcher.now,
        )
        while True:
            search.step(dispatcher, capacity=self.launcher.capacity, now=self.launcher.now)
            dispatcher.advance()
            self.ahead = max(self.ahead, dispatcher.num_unfinished)
            over = dispatcher.finished and search.complete
            if over:
                search.conclude()
            yield dispatcher
            if over:
                return
            self.launcher.wait(1.0)

    def plan(self) -> dict[str, Any]:
        return json.loads((self.folder / "plan.json").read_text())

    def records(self) -> dict[str, dict[str, Any]]:
        return {path.parent.name: json.loads(path.read_text()) for path in self.folder.glob("trials/*/record.json")}

    def _save(self, plan: Plan) -> None:
        write_json(self.folder / "plan.json", plan_document(plan))

    def _simulate(self, job: Job) -> Simulation:
        stages = job.payload["stages"]
        training = next((stage for stage in stages if stage["kind"] == "pretrain"), None)
        if training is not None:
            self.trained.append(training["key"])
            work = self.store.stage("pretrain", training["key"]).work
            work.mkdir(parents=True, exist_ok=True)
            line = {"step": 10, "time": 0, "metrics": {"eval/four_shot": self.score(training["config"]) / 2}}
            (work / "spool.jsonl").write_text(json.dumps(line) + "\n")

        def act() -> JobStatus:
            marker = job.payload["marker"]
            if marker and Path(marker).exists():
                return exited(EXIT_INTERRUPTED)
            for stage in stages:
                folder = self.store.stage(stage["kind"], stage["key"])
                folder.work.mkdir(parents=True, exist_ok=True)
                metrics = {"eval/four_shot": self.score(training["config"])} if training else {}
                folder.write_record({
                    "kind": stage["kind"],
                    "key": stage["key"],
                    "result": {"metrics": metrics},
                    "provenance": {**PROVENANCE, "seconds": 1.0},
                })  # fmt: skip
            return exited(0)

        return Simulation(seconds=3.0 if training else 1.0, act=act)


def rate(config: dict[str, Any]) -> float:
    return config["optimisation"]["learning_rate"]
