"""Query position embeddings: the BEV code of each reference point plus the ray codes of the cameras that see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from aqr_core.models.head.position import RayEmbedding, pixel_rays


class ProjectedReferences(NamedTuple):
    """Reference points seen by the cameras.

    Attributes:
        pixels: (B, N, Q, 3) homogeneous pixel (u, v, w), w = depth / (depth + 1e-6), float64.
        visible: (B, N, Q) bool, in front of the camera and inside the padded image.
    """

    pixels: Tensor
    visible: Tensor


def fraction_to_metres(fraction: Tensor, pc_range: Sequence[float]) -> Tensor:
    """(..., 3) fractions of the range -> metres."""
    limits = fraction.new_tensor(pc_range)
    return fraction * (limits[3:] - limits[:3]) + limits[:3]


def project_references(
    fraction: Tensor, lidar2img: Tensor, pad_shape: tuple[int, int], pc_range: Sequence[float]
) -> ProjectedReferences:
    """Project reference points into every camera, as upstream does.

    The divisor is detached as upstream's is, so references learn from the numerators alone.

    Args:
        fraction: (B, Q, 3) in fractions of the range.
        lidar2img: (B, N, 4, 4).
        pad_shape: (height, width) of the padded image in px.
        pc_range: x, y, z minimum and maximum in metres.
    """
    points = fraction_to_metres(fraction.double(), pc_range)
    matrix = lidar2img.double()
    projected = points[:, None] @ matrix[..., :3, :3].mT + matrix[..., None, :3, 3]  # (B, N, Q, 3)
    depth = projected[..., 2:].detach()
    pixels = projected / (depth + torch.where(depth > 0, 1e-6, -1e-6))
    u, v = pixels[..., 0], pixels[..., 1]
    visible = (depth[..., 0] > 0) & (u >= 0) & (u < pad_shape[1]) & (v >= 0) & (v < pad_shape[0])
    return ProjectedReferences(pixels, visible)


def ray_query_embedding(
    fraction: Tensor,
    lidar2img: Tensor,
    img2lidar: Tensor,
    pad_shape: tuple[int, int],
    pc_range: Sequence[float],
    embedding: RayEmbedding,
) -> Tensor:
    """Sum over the cameras that see a reference of the code of the ray through it.

    Args:
        fraction: (B, Q, 3) in fractions of the range.
        lidar2img: (B, N, 4, 4), and its inverse `img2lidar`.
        img2lidar: (B, N, 4, 4).
        pad_shape: (height, width) of the padded image in px.
        pc_range: x, y, z minimum and maximum in metres.
        embedding: the ray MLP that the image keys use too.

    Returns:
        (B, Q, C); zero where no camera sees the reference.
    """
    pixels, visible = project_references(fraction, lidar2img, pad_shape, pc_range)
    batch, camera, query = visible.nonzero(as_tuple=True)  # a query is seen by one or two of the cameras
    direction, origin = pixel_rays(pixels[batch, camera, query], img2lidar[batch, camera])
    codes = embedding(direction, origin)
    count = fraction.shape[1]
    total = codes.new_zeros(fraction.shape[0] * count, codes.shape[-1])
    return total.index_add(0, batch * count + query, codes).unflatten(0, (-1, count))
