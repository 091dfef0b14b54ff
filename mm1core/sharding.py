"""Weights, gradients and optimizer state spread over the processes that train together, by torch's ``fully_shard``.

Each process keeps its rows of every weight. A block's weights are gathered when it computes and dropped again;
gradients are summed, never averaged, and each process keeps its part of the sum. So all processes must compute the same
blocks in the same order, in every micro-batch. Everything that leaves a training is whole: checkpoints, scores, the
finished model. Where a module is not sharded, the functions here take tensors as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from mm1core.ranks import Ranks


def shard(module: nn.Module, blocks: Iterable[nn.Module], *, ranks: Ranks, device: torch.device) -> None:
    """Spread ``module``, which is equal in every process, over all of them on ``device``; its ``blocks`` are gathered
    one by one and the rest together."""
    if device.type == "cuda":  # before a mesh is made, which would take LOCAL_RANK for the number of a visible GPU
        torch.cuda.init()
        torch.cuda.set_device(device.index or 0)
    mesh = init_device_mesh(device.type, (ranks.count,))
    for part in [*blocks, module]:
        sharded = fully_shard(part, mesh=mesh)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo supports it, and a sum is what is wanted


def is_sharded(module: nn.Module) -> bool:
    return isinstance(module, FSDPModule)


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether this process has only a part of it."""
    return isinstance(tensor, DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor, in every process. All processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The part of a whole tensor that this process keeps, the same as it keeps of ``like``."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None).clone()


def gathered(state: Any, *, keep: bool) -> Any:
    """A state of dictionaries, lists and values with its tensors whole, in CPU memory. All processes must call this;
    those that do not ``keep`` the tensors get ``None`` for them, since a node has room for one copy."""
    if isinstance(state, Mapping):
        return {name: gathered(value, keep=keep) for name, value in state.items()}
    if isinstance(state, list):
        return [gathered(value, keep=keep) for value in state]
    if not isinstance(state, DTensor):
        return state
    tensor = state.full_tensor()
    return tensor.cpu() if keep else None


def load(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights that are whole."""
    own = module.state_dict()
    module.load_state_dict({name: part_of(tensor, own[name]) for name, tensor in weights.items()})


def load_optimisers(optimisers: Sequence[Optimizer], states: Sequence[Mapping[str, Any]]) -> None:
    """Load states whose tensors are whole."""
    for optimiser, saved in zip(optimisers, states, strict=True):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        parts = {
            index: {name: _like_weight(value, parameters[index]) for name, value in state.items()}
            for index, state in saved["state"].items()
        }
        optimiser.load_state_dict({**saved, "state": parts})


def _like_weight(value: Any, parameter: torch.Tensor) -> Any:
    """Moments have their weight's shape; step counts do not, and are copied out of a file that may go away."""
    if not isinstance(value, torch.Tensor):
        return value
    return part_of(value, parameter) if value.shape == parameter.shape else value.clone()
