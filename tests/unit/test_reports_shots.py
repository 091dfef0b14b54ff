"""What demonstrations give an arm is paired by its own seeds and items, and told apart by tests."""

import numpy as np
import pytest
from report_records import ArmRecord, write_sweep, written_items

from reports.frame import Results
from reports.records import read_records
from reports.shots import shot_gains, shots_table


def load(folder):
    return Results(read_records(folder, store=folder.parent.parent))


def test_gains_are_the_differences_of_an_arms_own_scores(tmp_path):
    arms = [
        ArmRecord(label="learns", baseline=True, scores={"0": 30.0, "4": 60.0, "8": 60.0, "text_core": 50.0}),
        ArmRecord(label="does not", scores={"0": 30.0, "4": 20.0, "8": 20.5}),
    ]
    results = load(write_sweep(tmp_path, "shots", arms, items=3000, seed_spread=1.0))
    gains = shot_gains(results)
    assert [(few.label, more.label) for few, more in gains] == [("0-shot", "4-shot"), ("4-shot", "8-shot")]
    verdicts = [[known[arm.key].verdict for arm in results.arms] for known in gains.values()]
    assert verdicts == [["higher", "lower"], ["unclear", "unclear"]]
    (few, more), known = next(iter(gains.items()))
    arm = results.arms[0]
    by_seed = []
    for trial in results.done(arm.key).values():
        scores = [[written_items(tmp_path, trial.evaluation, part)[1] for part in one.parts] for one in (more, few)]
        high, low = (np.mean([score.mean() for score in parts]) for parts in scores)
        by_seed.append(high - low)
    assert known[arm.key].estimate.mean == pytest.approx(np.mean(by_seed))
    assert known[arm.key].estimate.seeds == 3


def test_the_table_has_a_gap_for_an_arm_without_scores(tmp_path):
    arms = [
        ArmRecord(label="one", baseline=True),
        ArmRecord(label="two", states={0: "failed", 1: "failed", 2: "failed"}),
    ]
    results = load(write_sweep(tmp_path, "shots", arms))
    table = shots_table(results, shot_gains(results))
    assert [row.seeds for row in table.rows] == ["3/3", "0/3"]
    assert [cell.note for cell in table.rows[1].cells] == ["no scores", "no scores"]


def test_with_one_number_of_shots_there_is_nothing_to_compare(tmp_path):
    arms = [ArmRecord(label="one", baseline=True, scores={"4": 50.0})]
    assert shot_gains(load(write_sweep(tmp_path, "shots", arms))) == {}
