"""The transformer block of the image encoder and of the text encoder that CLIP discards.

Pre-norm, without biases in the matrices, one fused query-key-value matrix, exact GELU. The caller adds positions.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); shapes (N, L, width) in and out."""

    def __init__(self, *, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, mlp_ratio * width, bias=False)
        self.down = nn.Linear(mlp_ratio * width, width, bias=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``mask`` broadcasts to (N, heads, L, L); True where the row's position may see the column's."""
        x = x + self.attention_out(self._attend(self.attention_norm(x), mask))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))

    def _attend(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        number, length, width = x.shape
        packed = self.query_key_value(x).view(number, length, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).reshape(number, length, width)


@torch.no_grad()
def initialise(module: nn.Module, *, residual: tuple[str, ...] = (), residual_scale: float = 0.3) -> None:
    """Every ``nn.Linear`` and convolution below ``module`` starts normal with standard deviation 1/sqrt(fan-in).

    Those whose name ends in one of ``residual`` write to the residual stream and start ``residual_scale`` times as
    large; biases start at 0 and norms at the identity. Embeddings and other bare parameters are left to the caller.
    """
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            scale = residual_scale if name.split(".")[-1] in residual else 1.0
            part.weight.normal_(std=scale / part.weight[0].numel() ** 0.5)
        elif getattr(part, "weight", None) is not None and part.weight.ndim == 1:
            part.weight.fill_(1.0)
        else:
            continue
        if getattr(part, "bias", None) is not None:
            part.bias.zero_()


RESIDUAL = ("attention_out", "down")
"""The matrices of ``Block`` that write to the residual stream."""
