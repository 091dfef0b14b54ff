"""A search as it is driven: asked while others run, given up, killed and continued."""

import math
from statistics import fmean

import optuna
import pytest
from fake_launcher import FakeLauncher
from search_world import World, rate

from ablations.errors import SweepError
from ablations.points import some_arms
from ablations.stages import Chains
from ablations.sweep_file import read_sweep


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
    assert not world.warned


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


def test_the_study_knows_how_every_arm_ended(tmp_path):
    world = World(tmp_path, score=rate, study_url=f"sqlite:///{tmp_path}/studies.db")
    world.run()
    (name,) = optuna.get_all_study_names(world.study_url)
    trials = optuna.load_study(study_name=name, storage=world.study_url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 6


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
