"""AIM: each patch is predicted from those before it, as in language models (arXiv 2401.08541).

Attention is causal except within a prefix of random length, whose patches all see each other; patches of the prefix do
not count in the loss. The feature at position k-1 predicts the pixels of patch k, normalised within the patch (unbiased
variance, as in MAE). The head is discarded afterwards, and the encoder is used with bidirectional attention.
"""

import torch
from torch import nn

from mm1core.encoder import ImageEncoder, normalise, prefix_mask, unfold
from mm1core.transformer import initialise

_EPSILON = 1e-6


class Aim(nn.Module):
    """An image encoder and the head that turns its features into pixels."""

    def __init__(self, encoder: ImageEncoder, *, width: int, head_layers: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, 4 * width, bias=False),
                nn.GELU(),
                nn.Linear(4 * width, width, bias=False),
            )
            for _ in range(head_layers)
        )
        self.head_norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, 3 * encoder.patch_size**2, bias=False)
        for part in (self.head, self.head_norm, self.pixels):
            initialise(part)

    def predict(self, images: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
        """(N, K, p*p*3): at position i the prediction of patch i + 1. ``prefix`` (N,): patches of the prefix."""
        length = (images.shape[-2] // self.encoder.patch_size) * (images.shape[-1] // self.encoder.patch_size)
        x = self.encoder(images, prefix_mask(length, prefix))
        for layer in self.head:
            x = x + layer(x)
        predicted: torch.Tensor = self.pixels(self.head_norm(x))
        return predicted

    def forward(self, images: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
        """Mean squared error over the patches k >= prefix of all images; the prefix lies in [1, K-1]."""
        predicted = self.predict(images, prefix)
        wanted = pixel_targets(images, self.encoder.patch_size, predicted.dtype)
        errors = (predicted[:, :-1] - wanted[:, 1:]).square().mean(dim=-1)
        counted = torch.arange(1, wanted.shape[1], device=images.device)[None] >= prefix[:, None]
        return (errors * counted).sum() / counted.sum()


def pixel_targets(images: torch.Tensor, patch_size: int, dtype: torch.dtype) -> torch.Tensor:
    """(N, K, p*p*3): each patch with its own mean removed and divided by its own standard deviation."""
    patches = unfold(normalise(images, dtype), patch_size)
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + _EPSILON).sqrt()
