"""CLIP: each image is matched with its own caption among all of the batch, and vice versa (arXiv 2103.00020).

The text encoder and both projections are discarded afterwards; only the image encoder is kept.
"""

from math import log

import torch
import torch.nn.functional as F
from torch import nn

from mm1core.encoder import ImageEncoder
from mm1core.transformer import RESIDUAL, Block, initialise

_START, _LIMIT = log(1 / 0.07), log(100)
_EMBEDDING_STD = 0.3


class Clip(nn.Module):
    """An image encoder, a text encoder of the same width, and what compares them."""

    def __init__(
        self, encoder: ImageEncoder, *, width: int, heads: int, layers: int, vocabulary_size: int, length: int
    ) -> None:
        """``length``: most tokens of a caption."""
        super().__init__()
        self.encoder = encoder
        self.word = nn.Embedding(vocabulary_size, width)
        self.position = nn.Parameter(torch.empty(length, width))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads, mlp_ratio=4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.project_image = nn.Linear(width, width, bias=False)
        self.project_text = nn.Linear(width, width, bias=False)
        for part in (self.blocks, self.norm, self.project_image, self.project_text):
            initialise(part, residual=RESIDUAL)
        nn.init.normal_(self.word.weight, std=_EMBEDDING_STD)
        nn.init.normal_(self.position, std=_EMBEDDING_STD)
        self.log_scale = nn.Parameter(torch.tensor(_START))

    def forward(
        self, images: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(loss, share of images whose own caption is the most similar) of B pairs.

        ``images`` (B, 3, H, W) uint8, ``tokens`` (B, T) padded at the end, ``lengths`` (B,) at least 1.
        """
        with torch.no_grad():
            self.log_scale.clamp_(max=_LIMIT)
        image = self.project_image(self.encoder(images).mean(dim=1))
        text = self.project_text(self._read(tokens, lengths))
        loss, logits = contrastive(image, text, self.log_scale)
        return loss, (logits.argmax(dim=1) == torch.arange(len(logits), device=logits.device)).float().mean()

    def _read(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Mean over a caption's own tokens, (B, width)."""
        present = torch.arange(tokens.shape[1], device=tokens.device)[None] < lengths[:, None]
        x = self.word(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, present[:, None, None])
        x = self.norm(x) * present[:, :, None]
        return x.sum(dim=1) / lengths[:, None]


def contrastive(image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(symmetric cross-entropy, logits (B, B) with images as rows) of features (B, D), pairs at equal indices."""
    logits = log_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2, logits
