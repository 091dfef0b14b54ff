"""The image encoder: a vision transformer over patches, bidirectional or prefix-causal.

The patch embedding is a linear layer over unfolded patches, the same sum as a strided convolution, so that the
optimizer treats it as a matrix like the others. Positions are learned per patch of the configured grid and are resized
(bicubic) where an image has another grid; images need not be square.
"""

import torch
import torch.nn.functional as F
from torch import nn

from mm1core.config import EncoderConfig, ImageConfig
from mm1core.transformer import RESIDUAL, Block, initialise


class ImageEncoder(nn.Module):
    """uint8 images (N, 3, H, W) to features (N, h*w, width), patches in raster order."""

    def __init__(self, image: ImageConfig, config: EncoderConfig) -> None:
        super().__init__()
        self.patch_size = image.patch_size
        self.grid = (image.grid, image.grid)
        self.patch = nn.Linear(3 * image.patch_size**2, config.width, bias=False)
        self.position = nn.Parameter(torch.empty(image.num_patches, config.width))
        self.blocks = nn.ModuleList(
            Block(width=config.width, heads=config.heads, mlp_ratio=config.mlp_ratio) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        initialise(self, residual=RESIDUAL)
        nn.init.normal_(self.position, std=config.position_std)

    def forward(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """``mask`` broadcasts to (N, heads, h*w, h*w), True where attention is allowed; ``None`` is bidirectional."""
        x = self.patch(unfold(normalise(images, self.position.dtype), self.patch_size))
        x = x + resize_positions(self.position, self.grid, grid_of(images, self.patch_size))
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


def grid_of(images: torch.Tensor, patch_size: int) -> tuple[int, int]:
    """(h, w): patches along the height and the width of images (..., H, W)."""
    return images.shape[-2] // patch_size, images.shape[-1] // patch_size


def normalise(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """uint8 to [-1, 1]; floating-point images are taken as already normalised."""
    return images if images.is_floating_point() else images.to(dtype) / 127.5 - 1.0


def unfold(images: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Images (N, C, H, W) to patches (N, h*w, p*p*C): raster order, channels last within a patch."""
    number, channels = images.shape[:2]
    height, width = grid_of(images, patch_size)
    split = images.reshape(number, channels, height, patch_size, width, patch_size)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(number, height * width, patch_size**2 * channels)


def resize_positions(table: torch.Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> torch.Tensor:
    """A position table (h*w, D) of one patch grid for another: bicubic, no antialiasing, as in Transformers' CLIP."""
    if grid == wanted:
        return table
    square = table.view(1, *grid, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, size=wanted, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).reshape(wanted[0] * wanted[1], -1)


def prefix_mask(length: int, prefix: torch.Tensor) -> torch.Tensor:
    """(N, 1, length, length): position i may see j if j <= i or j lies in the prefix. ``prefix`` (N,) is its length."""
    index = torch.arange(length, device=prefix.device)
    causal = index[None, :] <= index[:, None]
    return (causal[None] | (index[None, None, :] < prefix[:, None, None]))[:, None]
