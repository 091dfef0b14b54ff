"""Means, standard errors and MM1's aggregates."""

import math

import numpy as np
import pytest

from mm1core.errors import DataError
from mm1core.evaluation.scores import Score, metrics, score


def cell(task, metric, shots, mean):
    return Score(task=task, metric=metric, shots=shots, mean=mean, standard_error=0.0, n=4)


def test_a_share_has_the_binomial_standard_error():
    result = score("colour", "exact", 4, np.array([1, 1, 1, 0, 0, 1, 1, 1], np.float32))
    assert (result.mean, result.n) == (0.75, 8)
    assert result.standard_error == pytest.approx(math.sqrt(0.75 * 0.25 / 7))


def test_a_graded_score_has_the_sample_standard_error():
    values = [0.5, 2.0, 9.0]
    mean = sum(values) / 3
    variance = sum((value - mean) ** 2 for value in values) / 2
    assert score("captioning", "cider_d", 0, np.array(values)).standard_error == pytest.approx(math.sqrt(variance / 3))


def test_equal_scores_have_no_error_and_a_single_one_has_an_unknown_one():
    assert score("colour", "exact", 0, np.ones(5)).standard_error == 0.0
    assert score("colour", "exact", 0, np.ones(1)).standard_error is None


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf], [[0.1], [0.2]]])
def test_scores_that_are_no_scores_are_refused(values):
    with pytest.raises(DataError):
        score("colour", "exact", 0, np.array(values))


def test_aggregates_average_the_primary_metrics_of_the_tasks():
    cells = [
        cell("colour", "exact", 0, 0.2),
        cell("colour", "value", 0, 0.9),
        cell("colour", "exact", 4, 0.8),
        cell("colour", "exact", 8, 1.0),
        cell("digit", "value", 0, 0.4),
        cell("digit", "exact", 0, 0.1),
        cell("digit", "value", 4, 0.6),
        cell("digit", "value", 8, 0.2),
        cell("text_core", "exact", 0, 0.5),
    ]
    flat = metrics(cells, primary={"colour": "exact", "digit": "value", "text_core": "exact"}, text_only=["text_core"])
    assert flat["eval/colour/value/0"] == 0.9
    assert flat["eval/text_core/exact/0"] == 0.5
    aggregates = {name: value for name, value in flat.items() if name.count("/") == 1 or "few_shot" in name}
    assert aggregates == pytest.approx(
        {
            "eval/zero_shot": 0.3,
            "eval/four_shot": 0.7,
            "eval/eight_shot": 0.6,
            "eval/few_shot/mean": 0.65,
            "eval/text_core": 0.5,
        }
    )


def test_other_numbers_of_shots_are_named_by_figure_and_absent_aggregates_left_out():
    flat = metrics([cell("colour", "exact", 2, 0.5)], primary={"colour": "exact"}, text_only=[])
    assert flat == {"eval/colour/exact/2": 0.5, "eval/2_shot": 0.5, "eval/few_shot/mean": 0.5}
