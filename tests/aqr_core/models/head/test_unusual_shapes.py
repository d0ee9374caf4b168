"""Codes and task heads where the golden arrays do not go: rectangles, lopsided ranges, one camera, kernel 3.

The expected values come from upstream's formulas written point by point in float64.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv1d

from aqr_core.models.head.position import RayEmbedding, image_cell_pixels, pixel_rays, pos2embed
from aqr_core.models.head.queries import ray_query_embedding

RANGE = (-20.0, -45.5, -3.0, 70.25, 31.0, 4.0)
LOW, HIGH = torch.tensor(RANGE, dtype=torch.float64).split(3)
DEPTHS = 6


def frustum_points(pixel: torch.Tensor, img2lidar: torch.Tensor) -> torch.Tensor:
    """(3 * DEPTHS,) points of the ray through the pixel (u, v, w) in fractions of `RANGE`, depth-major."""
    points = []
    for k in range(DEPTHS):
        depth = 1 + k * (RANGE[3] - 1) / DEPTHS
        point = img2lidar @ torch.cat([pixel * depth, torch.ones(1, dtype=torch.float64)])
        points.append((point[:3] - LOW) / (HIGH - LOW))
    return torch.cat(points)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 7), st.integers(17, 90), st.integers(17, 90))
@settings(max_examples=10)
def test_image_cells_of_any_shape(cameras, num_cameras, rows, cols, pad_height, pad_width):
    img2lidar = torch.linalg.inv(cameras(1, num_cameras))
    pixels = image_cell_pixels((rows, cols), (pad_height, pad_width), torch.device("cpu"))
    points = RayEmbedding(DEPTHS, 8, RANGE).double().ray_points(*pixel_rays(pixels, img2lidar[:, :, None]))[0]
    for camera in range(num_cameras):
        for row, col in ((0, 0), (0, cols - 1), (rows - 1, 0)):
            pixel = torch.tensor([col * pad_width / cols, row * pad_height / rows, 1.0], dtype=torch.float64)
            expected = frustum_points(pixel, img2lidar[0, camera])
            torch.testing.assert_close(points[camera, row * cols + col], expected, atol=1e-5, rtol=1e-5)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=10)
def test_queries_sum_the_rays_of_the_cameras_that_see_them(cameras, num_cameras, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    pad_shape = (50, 133)
    lidar2img = cameras(batch, num_cameras)
    fraction = torch.rand(batch, 9, 3, generator=generator, dtype=torch.float64)
    embedding = RayEmbedding(DEPTHS, 8, RANGE).double()
    mlp = torch.nn.Sequential(*embedding)
    img2lidar = torch.linalg.inv(lidar2img)
    with torch.no_grad():
        codes = ray_query_embedding(fraction, lidar2img, img2lidar, pad_shape, RANGE, embedding)
        for sample in range(batch):
            for query in range(9):
                expected = torch.zeros(8, dtype=torch.float64)
                point = torch.cat([LOW + fraction[sample, query] * (HIGH - LOW), torch.ones(1)])
                for camera in range(num_cameras):
                    projected = (lidar2img[sample, camera] @ point)[:3]
                    if projected[2] <= 0:
                        continue
                    pixel = projected / (projected[2] + 1e-6)
                    if 0 <= pixel[0] < pad_shape[1] and 0 <= pixel[1] < pad_shape[0]:
                        expected += mlp(frustum_points(pixel, img2lidar[sample, camera]))
                torch.testing.assert_close(codes[sample, query], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid_size", [(120, 80, 40), (64, 96, 40), (80, 80, 40)])
def test_grid_size_gives_upstreams_codes_even_where_they_swap_the_axes(build_tiny_head, grid_size):
    head = build_tiny_head(downsample_scale=8, train_cfg=dict(pts=dict(grid_size=list(grid_size))))
    rows, cols = grid_size[1] // 8, grid_size[0] // 8
    with torch.no_grad():
        codes = head.bev_position((rows, cols))
        for row, col in ((0, 0), (0, cols - 1), (rows - 1, 0), (rows - 1, cols - 1)):
            position = torch.tensor([(col + 0.5) / rows, (row + 0.5) / cols])  # upstream: x over rows, y over columns
            expected = head.bev_embedding(pos2embed(position, head.hidden_dim))
            torch.testing.assert_close(codes[row * cols + col], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_task_heads_are_grouped_convolutions_over_slots_and_queries(build_tiny_head, tiny_inputs, tiny_truth, kernel):
    head = build_tiny_head(separate_head=dict(type="SeparateTaskHead", final_kernel=kernel)).eval()
    decoded = []
    hook = head.transformer.register_forward_hook(lambda module, inputs, output: decoded.append(output))
    with torch.no_grad(), hook:
        out = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
        layers, batch, queries, channels = decoded[0].shape
        x = decoded[0].permute(1, 0, 3, 2).reshape(batch, layers * channels, queries)  # upstream's "b (n c) q"
        for name in ("cls_logits", "dim", "vel"):
            first, norm, _, last = getattr(head.task_heads[0], name)
            y = conv1d(x, first.weight, padding=kernel // 2, groups=layers)
            y = y.view(batch, layers, 64, queries)
            y = (y - y.mean(2, keepdim=True)) / (y.var(2, keepdim=True, unbiased=False) + 1e-6).sqrt()
            y = (norm.weight.view(1, -1, 1) * y.flatten(1, 2) + norm.bias.view(1, -1, 1)).relu()
            y = conv1d(y, last.weight, last.bias, padding=kernel // 2, groups=layers)
            expected = y.view(batch, layers, -1, queries).permute(1, 0, 3, 2)
            slots = out.denoising.plan.num_slots
            torch.testing.assert_close(getattr(out.denoising.predictions, name)[0], expected[:, :, :slots])
            torch.testing.assert_close(getattr(out, name)[0], expected[:, :, slots:])


def test_kernel_3_lets_denoising_reach_the_first_two_queries_alone(build_tiny_head, tiny_inputs, tiny_truth):
    # Upstream's LiDAR-only model trains with this leak; two convolutions of kernel 3 reach two queries far.
    head = build_tiny_head(separate_head=dict(type="SeparateTaskHead", final_kernel=3)).eval()
    with torch.no_grad():
        alone = head(*tiny_inputs)
        beside = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
    difference = (alone.cls_logits[0] - beside.cls_logits[0]).abs().amax(dim=(0, 1, 3))
    assert (difference[:2] > 1e-3).all() and (difference[2:] < 1e-4).all()
