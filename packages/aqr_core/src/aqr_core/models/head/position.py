"""Positional codes: where a BEV cell lies, and which ray an image cell looks along.

Codes are functions of positions in fractions of the point-cloud range, so queries and keys share them.
Source: CMT section 3.2; the divisors of `pos2embed` are upstream's, which differ from the usual sinusoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PositionCodes(NamedTuple):
    """Where queries and tokens are, as codes.

    Attributes:
        bev_query: (B, Q, C) code of each reference point on the ground plane.
        ray_query: (B, Q, C) codes of its camera rays; None without images.
        tokens: (B, T, C) codes of BEV and image cells.
        img2lidar: (B, N, 4, 4) float64; None without images.
    """

    bev_query: Tensor
    ray_query: Tensor | None
    tokens: Tensor
    img2lidar: Tensor | None


def pos2embed(position: Tensor, num_feats: int) -> Tensor:
    """Sinusoidal code of x and y.

    Upstream has no temperature: channel i is divided by `2 floor(i / 2) / num_feats + 1`, a number in [1, 2).

    Args:
        position: (..., >=2) x, y, ... in fractions of the range; further columns are ignored.
        num_feats: channels per axis, even.

    Returns:
        (..., 2 * num_feats), the y block first, then x; sine on even channels, cosine on odd ones.
    """
    pair = torch.arange(num_feats // 2, dtype=position.dtype, device=position.device)
    divisor = 2 * pair / num_feats + 1
    angle = position[..., [1, 0]].unsqueeze(-1) * (2 * torch.pi) / divisor  # (..., 2, num_feats / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-3)


def inverse_sigmoid(value: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of a value clamped to [0, 1], with numerator and denominator kept above `eps`."""
    value = value.clamp(0, 1)
    return torch.log(value.clamp(min=eps) / (1 - value).clamp(min=eps))


def bev_cell_centers(
    shape: tuple[int, int],
    cell_fraction: tuple[float, float],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Centres of the BEV cells, row-major.

    Args:
        shape: (Y, X) rows and columns.
        cell_fraction: (x, y) edge of one cell in fractions of the range.
        device: where the result lives.
        dtype: of the result.

    Returns:
        (Y * X, 2) x, y in fractions of the range.
    """
    rows, cols = shape
    y = (torch.arange(rows, device=device, dtype=dtype) + 0.5) * cell_fraction[1]
    x = (torch.arange(cols, device=device, dtype=dtype) + 0.5) * cell_fraction[0]
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def image_cell_pixels(shape: tuple[int, int], pad_shape: tuple[int, int], device: torch.device) -> Tensor:
    """Homogeneous pixel (u, v, 1) of each image-feature cell, row-major.

    Upstream takes the upper left corner of a cell, not its centre.

    Args:
        shape: (H, W) of the feature map.
        pad_shape: (height, width) of the padded image in px.
        device: where the result lives.

    Returns:
        (H * W, 3) float64.
    """
    rows, cols = shape
    v = torch.arange(rows, dtype=torch.float64, device=device) * (pad_shape[0] / rows)
    u = torch.arange(cols, dtype=torch.float64, device=device) * (pad_shape[1] / cols)
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)], dim=-1).flatten(0, 1)


def pixel_rays(pixels: Tensor, img2lidar: Tensor) -> tuple[Tensor, Tensor]:
    """Rays of pixels in the LiDAR frame: the point at depth d is `origin + d * direction`.

    Args:
        pixels: (..., 3) homogeneous (u, v, w), float64.
        img2lidar: (..., 4, 4) inverse of `lidar2img`, float64.

    Returns:
        direction (..., 3) per metre of depth and origin (..., 3) in metres, float64.
    """
    direction = (img2lidar[..., :3, :3] @ pixels.unsqueeze(-1)).squeeze(-1)
    origin = img2lidar[..., :3, 3].expand_as(direction)
    return direction, origin


class RayEmbedding(nn.Sequential):
    """MLP on the points of a camera ray at `depth_num` uniform depths, 1 m up to the x limit of the range.

    The 3 * depth_num inputs are affine in direction and origin. So the first layer acts on those six numbers with
    its weight summed over depths: the same function and gradients at a fraction of the cost and memory.
    Results have the dtype of the weights; rays are best given in float64.

    Args:
        depth_num: number of depths.
        hidden_dim: output channels; the hidden layer is four times as wide.
        pc_range: x, y, z minimum and maximum in metres.
    """

    depths: Tensor
    range_min: Tensor
    range_size: Tensor

    def __init__(self, depth_num: int, hidden_dim: int, pc_range: Sequence[float]) -> None:
        super().__init__(
            nn.Linear(3 * depth_num, 4 * hidden_dim), nn.ReLU(inplace=True), nn.Linear(4 * hidden_dim, hidden_dim)
        )
        depths = 1 + torch.arange(depth_num, dtype=torch.float32) * ((pc_range[3] - 1) / depth_num)
        limits = torch.tensor(pc_range, dtype=torch.float32)
        self.register_buffer("depths", depths, persistent=False)
        self.register_buffer("range_min", limits[:3], persistent=False)
        self.register_buffer("range_size", limits[3:] - limits[:3], persistent=False)

    def ray_points(self, direction: Tensor, origin: Tensor) -> Tensor:
        """(..., 3) rays -> (..., 3 * depth_num) points in fractions of the range, depth-major, not clamped."""
        points = origin.unsqueeze(-2) + direction.unsqueeze(-2) * self.depths[:, None]
        return ((points - self.range_min) / self.range_size).flatten(-2).to(self.depths.dtype)

    def forward(self, direction: Tensor, origin: Tensor) -> Tensor:  # type: ignore[override]
        """(..., 3) rays -> (..., hidden_dim); equals the MLP applied to `ray_points`."""
        first, activation, last = cast(tuple[nn.Linear, nn.ReLU, nn.Linear], tuple(self))
        weight = first.weight.unflatten(1, (-1, 3))  # (hidden, depths, 3)
        per_direction = torch.einsum("hdc,d->hc", weight, self.depths)
        direction = (direction / self.range_size).to(weight.dtype)
        origin = ((origin - self.range_min) / self.range_size).to(weight.dtype)
        hidden = F.linear(direction, per_direction, first.bias) + F.linear(origin, weight.sum(dim=1))
        return last(activation(hidden))
