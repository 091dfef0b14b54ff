"""What is repeated after an attempt ran out of memory: the same result, in smaller parts."""

from dataclasses import replace

import pytest
from fixed_configuration import fixed_config

from ablations.identity import stage_key
from ablations.less_memory import with_less_memory
from ablations.stages import Chains, Stage
from mm1core.config import check_shares

*_, ENCODER, PRETRAIN, EVALUATE = Chains().chain(fixed_config(), seed=0)


def key(stage: Stage) -> str:
    return stage_key(kind=stage.kind, version=stage.version, config=stage.config, inputs=stage.inputs)


def test_a_step_is_computed_in_twice_as_many_parts_each_time():
    for times, parts in ((0, 1), (1, 2), (2, 4), (3, 8), (4, 8)):  # of eight rows
        stage, changed = with_less_memory(PRETRAIN, times)
        assert stage.config.training.micro_batches == parts
        assert changed == ({"training.micro_batches": parts} if times else {})
        assert key(stage) == PRETRAIN.key


@pytest.mark.parametrize(
    ("rows", "processes", "expected"), [(8, 4, [2, 2]), (8, 2, [2, 4]), (12, 2, [2, 6]), (9, 3, [3, 3]), (4, 4, [1, 1])]
)
def test_the_rows_of_each_process_divide_into_the_parts(rows, processes, expected):
    config = replace(PRETRAIN.config, training=replace(PRETRAIN.config.training, rows_per_step=rows))
    for times, parts in enumerate(expected, start=1):
        stage, _ = with_less_memory(replace(PRETRAIN, config=config), times, processes=processes)
        assert stage.config.training.micro_batches == parts
        check_shares(stage.config.training, processes)


def test_fewer_items_are_decoded_side_by_side():
    stage, changed = with_less_memory(EVALUATE, 2)
    assert stage.config.evaluation.batch_size == EVALUATE.config.evaluation.batch_size // 4
    assert changed == {"evaluation.batch_size": stage.config.evaluation.batch_size}
    assert key(stage) == EVALUATE.key
    assert with_less_memory(EVALUATE, 20)[0].config.evaluation.batch_size == 1


def test_what_cannot_be_cut_stays_as_it_is():
    stage, changed = with_less_memory(ENCODER, 3)
    assert (stage.config, changed) == (ENCODER.config, {})
