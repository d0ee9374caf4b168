"""The structured initialisation: attention is local before the first step."""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.head.init_locality import attention_within
from aqr_core.models.head.position import pos2embed
from aqr_core.models.head.queries import project_references, ray_query_embedding


@pytest.fixture(scope="module")
def local_head(build_tiny_head):
    return build_tiny_head(init_cfg=dict(type="Locality"))


def test_sharp_heads_look_within_three_metres(local_head, build_tiny_head):
    share = attention_within(local_head, (40, 40), radius_m=3.0)
    assert share[0] >= 0.9 and share[1] >= 0.9
    assert share[1] > share[2] > 0.4  # the broad head
    noise = torch.randn(1600, 128, generator=torch.Generator().manual_seed(0)).relu()
    assert attention_within(local_head, (40, 40), radius_m=3.0, memory=noise).max() >= 0.6
    assert attention_within(build_tiny_head(), (40, 40), radius_m=3.0).max() < 0.02  # the default is uniform


def test_bev_code_has_constant_norm(local_head):
    points = torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    norm = local_head.bev_embedding(pos2embed(points, 128)).norm(dim=1)
    assert norm.std() < 0.01 * norm.mean()


def test_last_head_looks_at_the_image_columns_of_the_reference(local_head, cameras):
    lidar2img = cameras(1)
    img2lidar = torch.linalg.inv(lidar2img)
    reference = local_head.reference_points.weight.detach()[None]
    pad_shape, (rows, cols) = (64, 176), (4, 11)
    with torch.no_grad():
        query = ray_query_embedding(
            reference, lidar2img, img2lidar, pad_shape, local_head.pc_range, local_head.rv_embedding
        )[0, :, -32:]
        key = local_head.image_position((rows, cols), img2lidar, pad_shape)[0, :, -32:]
    logits = torch.cat([torch.zeros(100, 1600), query @ key.T / math.sqrt(32)], dim=1)  # BEV tokens have no ray code
    share = logits.softmax(dim=1)[:, 1600:].view(100, 6, rows, cols).sum(dim=2)
    projected = project_references(reference, lidar2img, pad_shape, local_head.pc_range)
    column = projected.pixels[0, ..., 0].T / 16  # (Q, N)
    distance = (torch.arange(cols) - column[..., None]).abs()
    near = (distance < 1.5) & projected.visible[0].T[..., None]
    seen = projected.visible[0].any(dim=0)
    assert seen.sum() > 90
    assert (share * near).sum(dim=(1, 2))[seen].mean() > 0.75


def test_outputs_are_finite_and_keys_unchanged(local_head, build_tiny_head, tiny_inputs):
    out = local_head(*tiny_inputs)
    assert all(part.isfinite().all() for part in (*out.cls_logits, *out.center, *out.dim))
    plain = build_tiny_head().state_dict()
    assert {k: v.shape for k, v in local_head.state_dict().items()} == {k: v.shape for k, v in plain.items()}


def test_references_form_a_grid_near_the_ground(local_head):
    reference = local_head.reference_points.weight
    cell = (reference[:, :2] * 10).floor().long()
    assert len({tuple(c) for c in cell.tolist()}) == 100  # one per cell of the 10 x 10 grid
    torch.testing.assert_close(reference[:, 2] * 8 - 5, torch.full((100,), -1.0))


@pytest.mark.parametrize("count", [1, 7, 99])
def test_any_number_of_queries_gets_distinct_references(build_tiny_head, count):
    head = build_tiny_head(num_query=count, init_cfg=dict(type="Locality"))
    assert len({tuple(p) for p in head.reference_points.weight.tolist()}) == count


def test_unknown_init_type_is_named(build_tiny_head):
    with pytest.raises(ConfigError, match="Localty"):
        build_tiny_head(init_cfg=dict(type="Localty"))
