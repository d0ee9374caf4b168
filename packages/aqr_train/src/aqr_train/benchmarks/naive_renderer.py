"""The weight renderer as a loop over queries and the cells around each: the reference of its tests and its speed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from aqr_core.models.aqr import QueryCells, WeightMaps, WeightRenderer
from aqr_core.models.aqr.splat import SplatKernel

Hit = tuple[int, int, Tensor]  # row, column, () weight


def render_naively(renderer: WeightRenderer, weights: Tensor, cells: QueryCells) -> WeightMaps:
    """What `renderer(weights, cells)` gives, (B, Y, X) and (B, N, H, W), one cell after another.

    Differentiable like the original, and independent of it beyond the settings that it holds.
    """
    samples = range(len(weights))
    bev = image = None
    if cells.shapes.bev is not None:
        bev_shape = cells.shapes.bev
        bev = torch.stack([_render_map(renderer, bev_shape, _bev_hits(weights, cells, sample)) for sample in samples])
    if cells.shapes.image is not None:
        cameras, rows, cols = cells.shapes.image
        maps = [
            _render_map(renderer, (rows, cols), _image_hits(weights, cells, sample, camera, renderer.views))
            for sample in samples
            for camera in range(cameras)
        ]
        image = torch.stack(maps).view(-1, cameras, rows, cols)
    return WeightMaps(bev, image)


def _bev_hits(weights: Tensor, cells: QueryCells, sample: int) -> Iterable[Hit]:
    for query in range(weights.shape[1]):
        if cells.in_bev[sample, query]:
            row, col = cells.bev_cell[sample, query].tolist()
            yield row, col, weights[sample, query, 0]


def _image_hits(weights: Tensor, cells: QueryCells, sample: int, camera: int, views: str) -> Iterable[Hit]:
    for query in range(weights.shape[1]):
        seen = cells.visible[sample, query]
        if seen[camera] and not (views == "first" and seen[:camera].any()):
            row, col = cells.image_cell[sample, query, camera].tolist()
            yield row, col, weights[sample, query, 1]


def _render_map(renderer: WeightRenderer, shape: tuple[int, int], hits: Iterable[Hit]) -> Tensor:
    """One (rows, columns) map."""
    kernel, is_mean = renderer.kernel, renderer.composition == "mean"
    reach = kernel.edge // 2
    total = torch.zeros(shape, dtype=renderer.clamp_max.dtype)
    shares = torch.zeros(shape, dtype=renderer.clamp_max.dtype)
    for row, col, weight in hits:
        for y in range(max(0, row - reach), min(shape[0], row + reach + 1)):
            for x in range(max(0, col - reach), min(shape[1], col + reach + 1)):
                share = _share(kernel, y - row, x - col)
                if kernel.method == "direct":
                    total[y, x] = torch.maximum(total[y, x].clone(), weight) if shares[y, x] else weight
                else:
                    total[y, x] += share * (weight - 1 if is_mean else weight)
                shares[y, x] += share
    if kernel.method == "direct":
        result = torch.where(shares > 0, total, 1.0 if is_mean else 0.0)
    else:
        result = 1 + total / shares.clamp(min=1) if is_mean else total
    if not is_mean:
        result = torch.where(result < renderer.min_weight_threshold, 0.0, result)
    return result.clamp(0, float(renderer.clamp_max)) if renderer.normalize_weights else result


def _share(kernel: SplatKernel, dy: int, dx: int) -> float:
    """Share at an offset, as the table of `SplatKernel` has it."""
    distance = math.hypot(dx, dy)
    if kernel.method == "gaussian":
        return math.exp(-(distance**2) / (2 * kernel.sigma**2)) if distance <= 3 * kernel.sigma else 0.0
    if kernel.method == "bilinear":
        return max(0.0, 1 - abs(dx) / kernel.radius) * max(0.0, 1 - abs(dy) / kernel.radius)
    if kernel.method == "distance_weighted":
        return kernel.decay**distance if distance <= 3 else 0.0
    return 1.0
