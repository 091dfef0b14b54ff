"""Optimizers and their schedule, which is a pure function of the step and the budget of steps.

Muon takes the weights of linear layers; AdamW takes embeddings, positions, norms, biases and convolutions.
"""

from collections.abc import Iterable, Sequence
from math import cos, pi

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from mm1core.config import OptimisationConfig
from mm1core.sharding import is_spread, part_of, whole


def build_optimisers(module: nn.Module, optimisation: OptimisationConfig) -> list[Optimizer]:
    """Optimizers over the parameters that require a gradient. Their groups store the peak rate as ``peak``."""
    matrices, others = _split(module)
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in module.parameters())
    optimisers: list[Optimizer] = []
    if optimisation.optimizer == "muon" and matrices:
        optimisers.append(BatchedMuon(matrices, lr=optimisation.matrix_learning_rate, weight_decay=0.0))
        matrices = []
    groups = [
        {"params": matrices, "weight_decay": optimisation.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if groups:
        optimisers.append(AdamW(groups, lr=optimisation.learning_rate, betas=optimisation.betas, fused=fused))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def set_rates(optimisers: Sequence[Optimizer], factor: float) -> None:
    """Set every group's rate to ``factor`` times its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * group["peak"]


def schedule(step: int, total_steps: int, optimisation: OptimisationConfig) -> float:
    """The rate over its peak at ``step``, counted from 0: warm-up, constant, decay.

    The last step, ``total_steps - 1``, has ``final_fraction`` unless nothing decays.
    """
    warmup = min(1.0, (step + 1) / max(1, optimisation.warmup_steps))
    start = optimisation.decay_start * total_steps
    if step + 1 <= start or start >= total_steps:
        return warmup
    progress = (step + 1 - start) / (total_steps - start)
    shape = 1 - progress if optimisation.schedule == "linear" else (1 + cos(pi * progress)) / 2
    return warmup * (optimisation.final_fraction + (1 - optimisation.final_fraction) * shape)


class BatchedMuon(Muon):
    """``torch.optim.Muon`` with the matrices of one shape orthogonalised together, and in fp32 on a CPU.

    The update is the same, also for matrices that are spread over processes. ``torch.optim.Muon`` takes them one by one
    in bf16, which costs more than the rest of a training step on a CPU without bf16 instructions.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update; closures are not used in this package."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._update(parameters, group)

    def _update(self, parameters: list[nn.Parameter], group: dict) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        updates = buffers
        if group["nesterov"]:  # one by one: torch 2.11 cannot do it for a list of spread tensors
            updates = [torch.lerp(*pair, group["momentum"]) for pair in zip(gradients, buffers, strict=True)]

        for indices in _together(updates):
            wide = torch.stack([_wide(whole(updates[index])) for index in indices])
            for index, direction in zip(indices, _orthogonalise(wide, group), strict=True):
                parameter = parameters[index]
                rows, columns = parameter.shape
                direction = part_of((direction.T if rows > columns else direction).to(parameter.dtype), parameter)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(direction, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


def _together(matrices: Sequence[torch.Tensor]) -> Iterable[list[int]]:
    """Indices of matrices to orthogonalise together: those of one shape, or each alone where it must be gathered."""
    if any(is_spread(matrix) for matrix in matrices):
        return [[index] for index in range(len(matrices))]
    by_shape: dict[tuple[int, int], list[int]] = {}
    for index, matrix in enumerate(matrices):
        by_shape.setdefault((min(matrix.shape), max(matrix.shape)), []).append(index)
    return by_shape.values()


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _orthogonalise(matrices: torch.Tensor, group: dict) -> torch.Tensor:
    """Newton-Schulz iteration on (B, rows, columns), rows <= columns: brings singular values near 1."""
    a, b, c = group["ns_coefficients"]
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _split(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(weights of linear layers, everything else), each once; a matrix tied to an embedding counts as an embedding."""
    embeddings = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    linear = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)} - embeddings
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if id(parameter) in linear]
    return matrices, [parameter for parameter in trained if id(parameter) not in linear]
