"""The training loss: weighted cross-entropy of each token given what precedes it in its own document.

Kept as a sum and a sum of weights, never as a mean: a step's loss is the sum over all its micro-batches divided by the
weights of the whole step, so that how a step is cut changes nothing.
"""

import torch
import torch.nn.functional as F


def target_weights(weights: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
    """(R, L) to (R, L-1): the weight of tokens 1 .. L-1 as targets; 0 where the token before is of another document."""
    follows = (documents[:, 1:] == documents[:, :-1]) & (documents[:, 1:] >= 0)
    return weights[:, 1:] * follows


def weighted_sum(
    logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor, documents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(sum of weight * negative log-likelihood in nats, sum of weights).

    ``logits`` (R, L, V); the others (R, L) as in ``Batch``. Both sums are 0 where nothing has a weight.
    """
    weight = target_weights(weights, documents)
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    weight = weight.flatten().to(losses.dtype)
    return (losses * weight).sum(), weight.sum()
