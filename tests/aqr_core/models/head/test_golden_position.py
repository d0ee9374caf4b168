"""Positional codes of `golden_posemb_*`: every group of arrays, before and after the MLPs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aqr_core.models.head.position import bev_cell_centers, image_cell_pixels, pixel_rays, pos2embed
from aqr_core.models.head.queries import project_references, ray_query_embedding


@pytest.fixture(scope="module")
def groups(posemb_file, shared_dir):
    """Arrays by group; a group is what has cameras."""
    with np.load(shared_dir / "golden" / f"golden_{posemb_file}.npz") as arrays:
        names = [name.removesuffix("/lidar2img") for name in arrays.files if name.endswith("/lidar2img")]
        return [
            {
                key.removeprefix(f"{name}/"): torch.from_numpy(arrays[key])
                for key in arrays.files
                if key.startswith(name)
            }
            for name in names
        ]


@pytest.fixture(scope="module")
def heads(groups, build_golden_head, with_golden_weights):
    """The head of each group, for its range."""
    found = []
    for group in groups:
        limits = group["pc_range"].tolist()
        head = build_golden_head(
            pc_range=limits,
            grid_size=[8, 8, 40],
            post_center_range=limits,
            num_query=1,
            num_layers=1,
            max_num=1,
            scalar=0,
            tasks=[dict(num_class=10)],
        )
        found.append(with_golden_weights(head, "pts_bbox_head."))
    return found


def test_image_keys(groups, heads):
    for arrays, head in zip(groups, heads, strict=True):
        pixels = image_cell_pixels(_pair(arrays["feat_hw"]), _pair(arrays["pad_shape"]), torch.device("cpu"))
        rays = pixel_rays(pixels, torch.linalg.inv(arrays["lidar2img"])[:, :, None])
        expected = arrays["rv_pe_coords"].flatten(1, 2).unflatten(0, arrays["lidar2img"].shape[:2])
        torch.testing.assert_close(head.rv_embedding.ray_points(*rays), expected, atol=1e-4, rtol=1e-5)


def test_rays_of_queries(groups, heads):
    for arrays, head in zip(groups, heads, strict=True):
        lidar2img, pad_shape = arrays["lidar2img"], _pair(arrays["pad_shape"])
        img2lidar = torch.linalg.inv(lidar2img)
        projected = project_references(arrays["ref_points"], lidar2img, pad_shape, head.pc_range)
        assert torch.equal(projected.visible, arrays["visible"])
        points = head.rv_embedding.ray_points(*pixel_rays(projected.pixels, img2lidar[:, :, None]))
        total = (points * projected.visible[..., None]).sum(dim=1)
        torch.testing.assert_close(total, arrays["rv_query_coords_sum"], atol=1e-4, rtol=1e-5)
        with torch.no_grad():
            code = ray_query_embedding(
                arrays["ref_points"], lidar2img, img2lidar, pad_shape, head.pc_range, head.rv_embedding
            )
            torch.testing.assert_close(code, arrays["rv_query_embed"], atol=1e-4, rtol=1e-4)


def test_bev_codes(groups, heads):
    for arrays, head in zip(groups, heads, strict=True):
        with torch.no_grad():
            code = head.bev_embedding(pos2embed(arrays["ref_points"], head.hidden_dim))
        torch.testing.assert_close(code, arrays["bev_query_embed"], atol=1e-4, rtol=1e-4)
        edge = round(len(arrays["coords_bev"]) ** 0.5)
        centers = bev_cell_centers((edge, edge), (1 / edge, 1 / edge), torch.device("cpu"))
        torch.testing.assert_close(centers, arrays["coords_bev"], atol=1e-6, rtol=0)


def _pair(sizes: torch.Tensor) -> tuple[int, int]:
    rows, cols = sizes.tolist()
    return rows, cols
