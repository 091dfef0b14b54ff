"""A search through the dispatcher, with the real study and jobs that a fake launcher runs."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fake_launcher import FakeLauncher, Simulation, exited

from ablations.advance import Dispatcher
from ablations.errors import SweepError
from ablations.plan import Plan, plan_document
from ablations.points import some_arms
from ablations.search import SearchDriver
from ablations.stages import Chains
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
        search = SearchDriver(
            self.sweep, self.folder, store=self.store.root, save=self._save, warn=lambda text: pytest.fail(text)
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
        for _ in range(passes):
            search.step(dispatcher, capacity=self.launcher.capacity, now=self.launcher.now)
            dispatcher.advance()
            self.ahead = max(self.ahead, dispatcher.num_unfinished)
            if dispatcher.finished and search.complete:
                break
            self.launcher.wait(1.0)
        return dispatcher

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
                    "provenance": {"seconds": 1.0},
                })  # fmt: skip
            return exited(0)

        return Simulation(seconds=3.0 if training else 1.0, act=act)


def rate(config: dict[str, Any]) -> float:
    return config["optimisation"]["learning_rate"]


def test_a_search_tries_as_many_arms_as_it_says(tmp_path):
    world = World(tmp_path, score=rate, arms=6)
    world.run()
    plan, records = world.plan(), world.records()
    assert len(plan["arms"]) == len(plan["trials"]) == 6
    assert {records[trial["key"]]["state"] for trial in plan["trials"]} == {"done"}
    assert len(world.trained) == len(set(world.trained)) == 6


def test_arms_are_asked_for_one_by_one_as_room_appears(tmp_path):
    world = World(tmp_path, score=rate, arms=6)
    world.run()
    assert world.ahead == world.launcher.capacity


def test_seeds_of_an_arm_are_one_arm(tmp_path):
    world = World(tmp_path, score=rate, arms=3, seeds=[0, 1])
    world.run()
    plan = world.plan()
    assert len(plan["arms"]) == 3
    assert len(plan["trials"]) == 6


def test_a_sampler_learns_from_the_records(tmp_path):
    """The best rate is 1e-3, and the later arms of TPE are nearer to it than the first ones, which are random."""
    world = World(tmp_path, score=lambda config: -abs(math.log10(rate(config)) + 3), arms=24, sampler="tpe")
    world.run()
    away = [abs(math.log10(arm["set"]["optimisation.learning_rate"]) + 3) for arm in world.plan()["arms"]]
    assert fmean(away[-10:]) < fmean(away[:7]) / 2


def test_a_search_that_is_killed_goes_on_with_the_same_arms(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = World(tmp_path / "whole", score=rate, sampler="tpe", arms=8)
    whole.launcher = FakeLauncher(whole._simulate, capacity=1)
    whole.run()
    for passes in (6, 9, 11):
        (tmp_path / str(passes)).mkdir()
        world = World(tmp_path / str(passes), score=rate, sampler="tpe", arms=8)
        for _ in range(40):
            world.launcher = FakeLauncher(world._simulate, capacity=1)
            if len(world.run(passes=passes).records) == 8:
                break
        assert world.plan()["arms"] == whole.plan()["arms"]


def test_a_finished_search_is_not_opened_again(tmp_path):
    world = World(tmp_path, score=rate)
    world.run()
    journal = world.folder / "study.journal"
    journal.unlink()
    trained = list(world.trained)
    world.run()
    assert not journal.exists()
    assert world.trained == trained


def test_hopeless_arms_are_given_up(tmp_path):
    world = World(tmp_path, score=rate, arms=16, pruner="median", more=", evaluation.every: 10")
    world.run()
    plan, records = world.plan(), world.records()
    states = [records[trial["key"]]["state"] for trial in plan["trials"]]
    rates = [arm["set"]["optimisation.learning_rate"] for arm in plan["arms"]]
    assert set(states) == {"done", "pruned"}
    done = [value for value, state in zip(rates, states, strict=True) if state == "done"]
    pruned = [value for value, state in zip(rates, states, strict=True) if state == "pruned"]
    assert max(pruned) < max(done)
    world.run()  # and stays so
    assert [world.records()[trial["key"]]["state"] for trial in plan["trials"]] == states


def test_a_space_smaller_than_the_number_of_arms_is_tried_whole(tmp_path):
    world = World(tmp_path, score=lambda config: 0.5, arms=9)
    file = tmp_path / "sweep.yaml"
    lines = [line for line in file.read_text().splitlines() if "low:" not in line]
    file.write_text("\n".join(lines))
    world.sweep = read_sweep(file)
    world.run()
    assert len(world.plan()["arms"]) == 3


def test_a_search_that_finds_no_arm_is_no_success(tmp_path):
    """What the plan finds of so narrow a constraint is one of its own draws, which the search does not make."""
    world = World(tmp_path, score=rate)
    only = some_arms(world.sweep, Chains())[0].set["optimisation.learning_rate"]
    file = tmp_path / "sweep.yaml"
    file.write_text(file.read_text() + f"constraints: [optimisation.learning_rate == {only}]\n")
    world.sweep = read_sweep(file)
    with pytest.raises(SweepError, match="points"):
        world.run()
    assert world.trained == []
