"""How a stage that ran out of memory is tried again: the same stage, computed in smaller parts. Pure.

Only fields that are no part of a stage's identity change: the loss and its gradient are the same sums in another order.
"""

from dataclasses import replace
from typing import Any

from ablations.stages import Stage
from mm1core.stages import EvaluateStage, PretrainStage


def with_less_memory(stage: Stage, times: int, *, processes: int = 1) -> tuple[Stage, dict[str, Any]]:
    """The stage with its parts halved this many ``times``, as far as they can be, and what changed, by dotted key.

    ``processes`` share the rows of a step; where a share cannot be halved, it is cut into the next smaller equal parts.
    """
    config: Any = stage.config
    changed: dict[str, Any] = {}
    for _ in range(times):
        if isinstance(config, PretrainStage):
            rows = config.training.rows_per_step // processes
            least = 2 * config.training.micro_batches
            parts = next((number for number in range(least, rows + 1) if rows % number == 0), None)
            if parts is not None:
                config = replace(config, training=replace(config.training, micro_batches=parts))
                changed["training.micro_batches"] = parts
        elif isinstance(config, EvaluateStage) and config.evaluation.batch_size > 1:
            size = config.evaluation.batch_size // 2
            config = replace(config, evaluation=replace(config.evaluation, batch_size=size))
            changed["evaluation.batch_size"] = size
    return replace(stage, config=config), changed
