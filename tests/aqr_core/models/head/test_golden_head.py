"""The head against arrays of the official one (provenance and tolerances: golden/cmt.md)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aqr_core.models.head.position import bev_cell_centers, image_cell_pixels, inverse_sigmoid, pixel_rays, pos2embed
from aqr_core.models.head.queries import project_references, ray_query_embedding

ATOL = dict(cls_logits=1e-4, center=1e-3, height=1e-4, dim=1e-4, rot=1e-4, vel=1e-4)
FILES = ("head_dev", "head_lidar_dev", "head_image_dev")


@pytest.mark.parametrize("name", FILES)
def test_every_layer_equals_the_official_head(load_golden, name):
    golden = load_golden(name)
    with torch.no_grad():
        out = golden.head(*golden.inputs())
    for branch, atol in ATOL.items():
        expected = golden.tensor(f"task0/{branch}")
        torch.testing.assert_close(getattr(out, branch)[0], expected, atol=atol, rtol=1e-4, msg=branch)
    assert out.denoising is None and out.aqr is None


@pytest.mark.parametrize("name", FILES)
def test_decoded_boxes_equal_the_official_ones(load_golden, name):
    golden = load_golden(name)
    with torch.no_grad():
        decoded = golden.head.decode(golden.head(*golden.inputs()))
    assert len(decoded) == golden.config["bs"]
    for sample, (boxes, scores, labels) in enumerate(decoded):
        torch.testing.assert_close(boxes, golden.tensor(f"dec{sample}/boxes_gravity"), atol=1e-3, rtol=0)
        torch.testing.assert_close(scores, golden.tensor(f"dec{sample}/scores"), atol=1e-4, rtol=0)
        assert torch.equal(labels, golden.tensor(f"dec{sample}/labels"))


def test_intermediate_codes_equal_the_official_ones(load_golden):
    golden = load_golden("head_dev")
    head, (bev, _, lidar2img, pad_shape) = golden.head, golden.inputs()
    with torch.no_grad():
        torch.testing.assert_close(head.shared_conv(bev)[0], golden.tensor("shared_conv"), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(head.bev_position((16, 16)), golden.tensor("bev_pos_embed"), atol=1e-4, rtol=1e-4)
        img2lidar = torch.linalg.inv(lidar2img)
        image_position = head.image_position((4, 10), img2lidar, pad_shape)[0]
        expected = golden.tensor("rv_pos_embed").flatten(0, 2)
        torch.testing.assert_close(image_position, expected, atol=1e-4, rtol=1e-4)
        fraction = inverse_sigmoid(head.reference_points.weight).sigmoid().expand(2, -1, -1)
        code = head.bev_embedding(pos2embed(fraction, 256))[0]
        torch.testing.assert_close(code, golden.tensor("bev_query_embed"), atol=1e-4, rtol=1e-4)
        code = ray_query_embedding(fraction, lidar2img, img2lidar, pad_shape, head.pc_range, head.rv_embedding)[0]
        torch.testing.assert_close(code, golden.tensor("rv_query_embed"), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        bev_cell_centers((16, 16), (1 / 16, 1 / 16), torch.device("cpu")),
        golden.tensor("coords_bev"),
        atol=1e-6,
        rtol=0,
    )


def test_ray_points_before_the_mlp_equal_the_official_ones(load_golden, shared_dir):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(shared_dir / "golden" / "golden_posemb_coder.npz").items()}
    embedding = load_golden("head_dev").head.rv_embedding
    pad_shape = tuple(arrays["dev/pad_shape"].tolist())
    lidar2img = arrays["dev/lidar2img"]
    img2lidar = torch.linalg.inv(lidar2img)
    pixels = image_cell_pixels(tuple(arrays["dev/feat_hw"].tolist()), pad_shape, torch.device("cpu"))
    points = embedding.ray_points(*pixel_rays(pixels, img2lidar[:, :, None]))
    expected = arrays["dev/rv_pe_coords"].flatten(1, 2).unflatten(0, (2, 2))
    torch.testing.assert_close(points, expected, atol=1e-4, rtol=1e-5)

    projected = project_references(arrays["dev/ref_points"], lidar2img, pad_shape, arrays["dev/pc_range"].tolist())
    assert torch.equal(projected.visible, arrays["dev/visible"])
    points = embedding.ray_points(*pixel_rays(projected.pixels, img2lidar[:, :, None])) * projected.visible[..., None]
    torch.testing.assert_close(points.sum(dim=1), arrays["dev/rv_query_coords_sum"], atol=1e-4, rtol=1e-5)


def test_sinusoid_and_logit_equal_the_official_ones(shared_dir):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(shared_dir / "golden" / "golden_posemb_coder.npz").items()}
    for feats in (256, 128):
        code = pos2embed(arrays["pos2embed/in_xy"], feats)
        torch.testing.assert_close(code, arrays[f"pos2embed/out_{feats}"], atol=1e-5, rtol=0)
    logit = inverse_sigmoid(arrays["inverse_sigmoid/in"])
    torch.testing.assert_close(logit, arrays["inverse_sigmoid/out"])
    torch.testing.assert_close(logit.sigmoid(), arrays["inverse_sigmoid/roundtrip"])


def test_box_codes_equal_the_official_ones(load_golden, shared_dir):
    arrays = {k: torch.from_numpy(v) for k, v in np.load(shared_dir / "golden" / "golden_posemb_coder.npz").items()}
    coder = load_golden("head_dev").head.bbox_coder
    boxes, codes = arrays["coder/boxes_gravity"], arrays["coder/encoded"]
    torch.testing.assert_close(coder.encode(boxes), codes, equal_nan=True)
    torch.testing.assert_close(coder.decode_codes(codes), arrays["coder/decoded"], equal_nan=True)
    raw = coder.decode_codes(arrays["coder/raw_pred"])
    torch.testing.assert_close(raw, arrays["coder/raw_pred_decoded"], rtol=1e-4, atol=1e-4)


def test_state_dict_keys_and_shapes_are_the_official_ones(build_golden_head, shared_dir):
    head = build_golden_head(
        pc_range=[-54.0, -54.0, -5.0, 54.0, 54.0, 3.0],
        grid_size=[1024, 1024, 40],
        post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
        num_query=900,
        num_layers=6,
        max_num=300,
        scalar=10,
        tasks=[dict(num_class=10)],
    )
    official = {}
    for row in (shared_dir / "reference" / "cmt_r50_state_dict.tsv").read_text().splitlines():
        key, shape, *_ = row.split("\t")
        if key.startswith("pts_bbox_head."):
            size = () if shape == "scalar" else tuple(int(n) for n in shape.split(","))
            official[key.removeprefix("pts_bbox_head.")] = size
    assert {key: tuple(value.shape) for key, value in head.state_dict().items()} == official
