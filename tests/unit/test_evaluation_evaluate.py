"""Scoring a model in memory: what comes out, and what it does not depend on."""

from dataclasses import replace

import pytest
from tiny_evaluation import ShadeTask, model, tokenizer

from mm1core.config import EvaluationConfig
from mm1core.errors import DataError, Interrupted
from mm1core.evaluation.evaluate import score_model
from mm1core.open import Data

EVALUATION = EvaluationConfig(tasks=("colour", "text_core"), shots=(0, 2, 5), batch_size=16)


def task(name, split):
    if name == "digit":
        raise DataError("evaluation.tasks: digit is not offered; there are colour and text_core")
    return ShadeTask(name=name, shots=name != "text_core")


@pytest.fixture(scope="module")
def data():
    return Data(tokenizer=tokenizer(), sources={}, task=task)


@pytest.fixture(scope="module")
def network():
    return model()


@pytest.fixture(scope="module")
def result(network, data):
    return score_model(network, data, EVALUATION, split="test", items=30)


def test_every_task_metric_and_number_of_shots_has_a_score(result):
    cells = [(cell["task"], cell["metric"], cell["shots"], cell["n"]) for cell in result["scores"]]
    assert cells == [
        *[("colour", metric, shots, 30) for shots in (0, 2, 5) for metric in ("exact", "words")],
        *[("text_core", metric, 0, 30) for metric in ("exact", "words")],
    ]
    assert result["metrics"]["eval/few_shot/mean"] == pytest.approx(
        sum(result["metrics"][f"eval/colour/exact/{shots}"] for shots in (2, 5)) / 2
    )
    assert result["metrics"]["eval/text_core"] == result["metrics"]["eval/text_core/exact/0"]
    # <bos>, five demonstrations of 4 image tokens and 5 words, the question's 4 + 3
    assert result["longest_prompt"] == 1 + 5 * 9 + 7


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_does_not_matter(network, data, result, batch_size):
    assert score_model(network, data, replace(EVALUATION, batch_size=batch_size), split="test", items=30) == result


def test_the_model_is_left_in_the_mode_it_was_in(network, data):
    for mode in (True, False):
        network.train(mode)
        score_model(network, data, replace(EVALUATION, tasks=("text_core",)), split="test", items=2)
        assert network.training is mode


def test_a_task_the_data_has_not_is_named_before_any_work(network, data):
    calls = []
    with pytest.raises(DataError, match="colour and text_core"):
        score_model(
            network,
            data,
            replace(EVALUATION, tasks=("colour", "digit")),
            split="test",
            items=2,
            stop=lambda: calls.append(1),
        )
    assert not calls


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_stop_is_honoured_with_its_reason(network, data, after):
    network.train()
    answers = iter([None] * after + ["preempted"] * 100)
    with pytest.raises(Interrupted) as caught:
        score_model(network, data, EVALUATION, split="test", items=30, stop=lambda: next(answers))
    assert caught.value.reason == "preempted"
    assert network.training


def test_a_task_may_decode_fewer_tokens_than_the_configuration_allows_and_never_more(network, data):
    lengths = [
        score_model(network, data, replace(EVALUATION, max_new_tokens=limit), split="test", items=30)["metrics"]
        for limit in (1, 6, 30)
    ]
    assert lengths[0]["eval/colour/words/0"] <= 1 < lengths[1]["eval/colour/words/0"] <= 6
    assert lengths[1] == lengths[2]


def test_no_items_is_an_error(network, data):
    class Empty(ShadeTask):
        def items(self, count):
            return []

    empty = replace(data, task=lambda name, split: Empty(name=name))
    with pytest.raises(DataError, match="no item"):
        score_model(network, empty, EVALUATION, split="test", items=2)
