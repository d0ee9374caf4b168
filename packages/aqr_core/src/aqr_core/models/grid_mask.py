"""GridMask augmentation of images ("GridMask Data Augmentation", arXiv 2001.04086), as CMT trains with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GridMask(nn.Module):
    """Blank the square holes of a random grid, in training only; one grid for all images of a batch.

    Stripes of period d and width about `ratio` * d run both ways and are kept; what lies between them becomes zero.
    Upstream draws the grid on a canvas 1.5 times the image and crops its centre, so stripes end before the far border
    of the canvas; the same is done here. Draws from torch's default generator.

    Args:
        probability: of masking a batch.
        ratio: stripe width over period.
    """

    def __init__(self, probability: float = 0.7, ratio: float = 0.5) -> None:
        super().__init__()
        self.probability = probability
        self.ratio = ratio

    def forward(self, images: Tensor) -> Tensor:
        """(..., H, W) -> the same shape, masked in training mode."""
        if not self.training or torch.rand(()).item() >= self.probability:
            return images
        height, width = images.shape[-2:]
        period = _randint(2, height)
        stripe = min(max(int(period * self.ratio + 0.5), 1), period - 1)
        rows = _stripes(height, period, stripe, offset=_randint(0, period))
        columns = _stripes(width, period, stripe, offset=_randint(0, period))
        return images * (rows[:, None] | columns[None, :]).to(images)


def _stripes(size: int, period: int, stripe: int, offset: int) -> Tensor:
    """(size,) bool: the pixels of one axis inside a stripe, after the centre crop of the 1.5 times larger canvas."""
    canvas = int(1.5 * size)
    position = torch.arange(size) + (canvas - size) // 2 - offset
    return (position >= 0) & (position // period < canvas // period) & (position % period < stripe)


def _randint(low: int, high: int) -> int:
    return int(torch.randint(low, high, ()).item())
