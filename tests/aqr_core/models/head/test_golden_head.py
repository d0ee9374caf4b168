"""The head against arrays of the official one (provenance and tolerances: golden/cmt.md)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aqr_core.models.head.box_coder import MultiTaskBBoxCoder
from aqr_core.models.head.position import bev_cell_centers, inverse_sigmoid, pos2embed
from aqr_core.models.head.queries import ray_query_embedding
from aqr_core.structures.boxes3d import gravity_to_bottom

ATOL = dict(cls_logits=1e-4, center=1e-3, height=1e-4, dim=1e-4, rot=1e-4, vel=1e-4)


def test_every_layer_equals_the_official_head(load_golden, head_file):
    golden = load_golden(head_file)
    decoded = []
    hook = golden.head.transformer.register_forward_hook(lambda module, inputs, output: decoded.append(output))
    with torch.no_grad(), hook:
        out = golden.head(*golden.inputs())
    for branch, atol in ATOL.items():
        for task in golden.tasks:
            expected = golden.tensor(f"task{task}/{branch}")
            torch.testing.assert_close(getattr(out, branch)[task], expected, atol=atol, rtol=1e-4, msg=branch)
    torch.testing.assert_close(decoded[0][-1], golden.tensor("outs_dec_last"), atol=1e-4, rtol=1e-4)
    assert out.denoising is None and out.aqr is None


def test_decoded_boxes_equal_the_official_ones(load_golden, head_file):
    golden = load_golden(head_file)
    with torch.no_grad():
        decoded = golden.head.decode(golden.head(*golden.inputs()))
    assert len(decoded) == golden.config["bs"]
    for sample, (boxes, scores, labels) in enumerate(decoded):
        torch.testing.assert_close(boxes, golden.tensor(f"dec{sample}/boxes_gravity"), atol=1e-3, rtol=0)
        bottom = torch.from_numpy(gravity_to_bottom(boxes.numpy()))
        torch.testing.assert_close(bottom, golden.tensor(f"dec{sample}/boxes_bottom"), atol=1e-3, rtol=0)
        torch.testing.assert_close(scores, golden.tensor(f"dec{sample}/scores"), atol=1e-4, rtol=0)
        assert torch.equal(labels, golden.tensor(f"dec{sample}/labels"))


def test_intermediate_codes_equal_the_official_ones(load_golden, head_file):
    golden = load_golden(head_file)
    if "rv_pos_embed" not in golden.arrays:
        pytest.skip("this file holds outputs alone")

    def compare(ours: torch.Tensor, name: str) -> None:
        torch.testing.assert_close(ours, golden.tensor(name), atol=1e-4, rtol=1e-4, msg=name)

    head, (bev, images, lidar2img, pad_shape) = golden.head, golden.inputs()
    rows, cols = bev.shape[-2:]
    img2lidar = torch.linalg.inv(lidar2img)
    with torch.no_grad():
        compare(head.shared_conv(bev)[0], "shared_conv")
        compare(head.bev_position((rows, cols)), "bev_pos_embed")
        image_position = head.image_position(tuple(images.shape[-2:]), img2lidar, pad_shape)[0]
        compare(image_position.view(images.shape[1], *images.shape[-2:], -1), "rv_pos_embed")
        reference = head.reference_points.weight.expand(len(bev), -1, -1)
        fraction = inverse_sigmoid(reference).sigmoid()
        compare(head.bev_embedding(pos2embed(fraction, 256))[0], "bev_query_embed")
        code = ray_query_embedding(fraction, lidar2img, img2lidar, pad_shape, head.pc_range, head.rv_embedding)
        compare(code[0], "rv_query_embed")
    centers = bev_cell_centers((rows, cols), (1 / rows, 1 / cols), torch.device("cpu"))
    compare(centers, "coords_bev")
    compare(pos2embed(centers, 256)[:8], "pos2embed_bev_first8")


@pytest.fixture(scope="module")
def codes(posemb_file, shared_dir):
    with np.load(shared_dir / "golden" / f"golden_{posemb_file}.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def test_sinusoid_and_logit_equal_the_official_ones(codes):
    for feats in (256, 128):
        code = pos2embed(codes["pos2embed/in_xy"], feats)
        torch.testing.assert_close(code, codes[f"pos2embed/out_{feats}"], atol=1e-5, rtol=0)
    logit = inverse_sigmoid(codes["inverse_sigmoid/in"])
    torch.testing.assert_close(logit, codes["inverse_sigmoid/out"])
    torch.testing.assert_close(logit.sigmoid(), codes["inverse_sigmoid/roundtrip"])


def test_box_codes_equal_the_official_ones(codes):
    encoded = MultiTaskBBoxCoder.encode(codes["coder/boxes_gravity"])
    torch.testing.assert_close(encoded, codes["coder/encoded"], equal_nan=True)
    decoded = MultiTaskBBoxCoder.decode_codes(codes["coder/encoded"])
    torch.testing.assert_close(decoded, codes["coder/decoded"], equal_nan=True)
    raw = MultiTaskBBoxCoder.decode_codes(codes["coder/raw_pred"])
    torch.testing.assert_close(raw, codes["coder/raw_pred_decoded"], rtol=1e-4, atol=1e-4)


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
