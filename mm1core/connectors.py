"""The vision-language connectors: patch features of any grid to a square number of image tokens.

Average pooling and a linear layer; attention pooling by learned queries, as in open_clip's ``AttentionalPooler``; and
the C-Abstractor of Honeybee (arXiv 2312.06742), RegNet blocks around a pooling. Every kind ends the same way: a layer
norm, a learned slot embedding and a common scale, so that kinds differ only in how they look at the image. None changes
its input.
"""

from itertools import pairwise
from math import isqrt

import torch
import torch.nn.functional as F
from torch import nn

from mm1core.config import ConnectorConfig
from mm1core.encoder import resize_positions
from mm1core.transformer import initialise

_SLOT_STD = 0.3


class Connector(nn.Module):
    """Features (N, h*w, in_width) of a patch grid (h, w) to image tokens (N, num_tokens, out_width)."""

    def __init__(self, config: ConnectorConfig, *, in_width: int, out_width: int, grid: tuple[int, int]) -> None:
        """``grid`` is the usual patch grid, for which the C-Abstractor's position table is made."""
        super().__init__()
        self.scale = config.scale
        self.pool: nn.Module
        match config.kind:
            case "average_pool":
                self.pool = AveragePool(config.num_tokens, in_width, out_width)
            case "attention_pool":
                self.pool = AttentionPool(config.num_tokens, in_width, out_width, heads=config.heads)
            case "c_abstractor":
                self.pool = CAbstractor(config, in_width, out_width, grid)
        self.norm = nn.LayerNorm(out_width)
        self.slot = nn.Parameter(torch.empty(config.num_tokens, out_width))
        initialise(self)
        nn.init.normal_(self.slot, std=_SLOT_STD)
        for part in self.modules():
            if isinstance(part, RegNetBlock):
                nn.init.zeros_(part.leave_norm.weight)

    def forward(self, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        return (self.norm(self.pool(x, grid)) + self.slot) * self.scale


class AveragePool(nn.Module):
    """The mean over an adaptive window (windows overlap where the grids do not divide), then a linear layer."""

    def __init__(self, num_tokens: int, in_width: int, out_width: int) -> None:
        super().__init__()
        self.side = isqrt(num_tokens)
        self.project = nn.Linear(in_width, out_width)

    def forward(self, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        return self.project(_adaptive_pool(x.unflatten(1, grid), self.side).flatten(1, 2))


class AttentionPool(nn.Module):
    """Learned queries attend to the features; no residual, no feed-forward layer."""

    def __init__(self, num_tokens: int, in_width: int, out_width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(num_tokens, out_width) / out_width**0.5)
        self.query_norm = nn.LayerNorm(out_width)
        self.feature_norm = nn.LayerNorm(in_width)
        self.query = nn.Linear(out_width, out_width)
        self.key = nn.Linear(in_width, out_width, bias=False)  # a bias would shift all scores of a query alike
        self.value = nn.Linear(in_width, out_width)
        self.out = nn.Linear(out_width, out_width)

    def forward(self, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        features = self.feature_norm(x)
        query = self._split(self.query(self.query_norm(self.queries))[None]).expand(len(x), -1, -1, -1)
        attended = F.scaled_dot_product_attention(
            query, self._split(self.key(features)), self._split(self.value(features))
        )
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class CAbstractor(nn.Module):
    """RegNet blocks, adaptive average pooling, RegNet blocks, then a perceptron. Channels last throughout.

    The position table is added out of place, unlike in Honeybee, which alters the caller's features.
    """

    def __init__(self, config: ConnectorConfig, in_width: int, out_width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.side = isqrt(config.num_tokens)
        self.position = nn.Parameter(nn.init.trunc_normal_(torch.empty(grid[0] * grid[1], in_width), std=0.02))
        widths = [in_width] + [config.width] * config.depth
        self.before = nn.ModuleList(RegNetBlock(a, b) for a, b in pairwise(widths))
        self.after = nn.ModuleList(RegNetBlock(config.width, config.width) for _ in range(config.depth))
        self.readout = nn.ModuleList(
            nn.Linear(out_width if index else config.width, out_width) for index in range(config.mlp_depth)
        )

    def forward(self, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        x = (x + resize_positions(self.position, self.grid, grid)).unflatten(1, grid)
        for block in self.before:
            x = block(x)
        x = _adaptive_pool(x, self.side)
        for block in self.after:
            x = block(x)
        x = x.flatten(1, 2)
        for index, layer in enumerate(self.readout):
            x = layer(F.silu(x) if index else x)
        return x


class RegNetBlock(nn.Module):
    """The RegNet bottleneck as Honeybee instantiates it: depthwise 3x3, squeeze and excite, layer norms, SiLU.

    x (N, h, w, in_width) to (N, h, w, width). Its 1x1 convolutions are linear layers here, which compute the same sums.
    It starts as its shortcut: the norm before the sum has weight zero, as in timm's RegNets. Without that, four
    trainings of the micro preset (three seeds, two rates) could not read after 800 steps; with it, two could after 300.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        squeezed = max(1, round(in_width / 4))  # relative to the block's input, not to its own width
        self.enter = nn.Linear(in_width, width, bias=False)
        self.enter_norm = nn.LayerNorm(width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.depthwise_norm = nn.LayerNorm(width)
        self.squeeze = nn.Linear(width, squeezed)
        self.excite = nn.Linear(squeezed, width)
        self.leave = nn.Linear(width, width, bias=False)
        self.leave_norm = nn.LayerNorm(width)
        self.skip = nn.Linear(in_width, width, bias=False) if in_width != width else None
        self.skip_norm = nn.LayerNorm(width) if in_width != width else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = F.silu(self.enter_norm(self.enter(x)))
        inner = self.depthwise(inner.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        inner = F.silu(self.depthwise_norm(inner))
        gate = torch.sigmoid(self.excite(F.silu(self.squeeze(inner.mean(dim=(1, 2), keepdim=True)))))
        inner = self.leave_norm(self.leave(inner * gate))
        if self.skip is not None and self.skip_norm is not None:
            x = self.skip_norm(self.skip(x))
        return F.silu(inner + x)


def _adaptive_pool(x: torch.Tensor, side: int) -> torch.Tensor:
    """(N, h, w, D) to (N, side, side, D): row i averages rows floor(i*h/side) up to ceil((i+1)*h/side); columns too."""
    return F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), side).permute(0, 2, 3, 1)
