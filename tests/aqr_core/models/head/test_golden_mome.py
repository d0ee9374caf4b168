"""MoME's head (router and three experts) against arrays of the official one: golden/cmt.md, golden_mome_*.npz.

`RouterHead` in its compatibility mode, at the real grid sizes. Every number comes from the file; inputs are drawn again
from the seeds it states.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aqr_core.models.aqr.projection import MapShapes
from aqr_core.models.aqr.windows import build_windows
from aqr_core.models.head import RouterHead
from aqr_core.models.head.queries import project_references
from aqr_core.models.head.router_head import router_loss
from aqr_core.models.head.router_output import EXPERTS

FOLDER = Path(__file__).resolve().parents[5] / "shared" / "golden"
FILES = sorted(path.name for path in FOLDER.glob("golden_mome_*.npz")) or ["golden_mome_aqr_dev.npz"]
PREFIX = "pts_bbox_head."
STRIDE = 16  # of the image features
BRANCHES = ("cls_logits", "center", "height", "dim", "rot", "vel")


def drawn(recipe: str, seed: int) -> torch.Tensor:
    """The array that 'RandomState(seed+1).standard_normal((1,2))*0.5 float32' describes."""
    pattern = r"RandomState\(seed\+(\d+)\)\.standard_normal\(\(([\d,]+)\)\)\*([\d.]+) float32"
    offset, shape, factor = re.fullmatch(pattern, recipe).groups()
    rng = np.random.RandomState(seed + int(offset))
    normal = rng.standard_normal(tuple(int(n) for n in shape.split(",")))
    return torch.from_numpy((normal * float(factor)).astype("float32"))


@pytest.fixture(scope="module", params=FILES)
def mome(request, shared_dir, build_golden_head, with_official_weights):
    """Our head with the official weights, its inputs, and what came out of encoder, decoder and head."""
    arrays = {k: torch.from_numpy(v) for k, v in np.load(shared_dir / "golden" / request.param).items()}
    config = json.loads(bytes(arrays.pop("config_json").numpy()))
    bev, images = drawn(config["x"], config["seed"]), drawn(config["x_img"], config["seed"])[None]
    head = build_golden_head(
        head="MultiExpertDecoding",
        **{"tasks": [dict(num_class=10)], "scalar": 10, "post_center_range": [-61.2, -61.2, -10, 61.2, 61.2, 10]}
        | {key: config[key] for key in ("pc_range", "grid_size", "num_query", "num_layers", "max_num")},
        transformer="MultiExpert",
        transformer_options=dict(
            use_cam_embed=True, mome_compatible=True, window_sizes=config["window_sizes"], encoder={}
        ),
    )
    assert isinstance(head, RouterHead)
    with_official_weights(head, PREFIX)
    shapes = MapShapes(bev=tuple(bev.shape[-2:]), image=(images.shape[1], *images.shape[-2:]))
    inputs = bev, images, arrays["lidar2img"][None], (STRIDE * shapes.image[1], STRIDE * shapes.image[2])
    encoded, decoded = [], []
    hooks = [
        head.transformer.encoder.register_forward_hook(lambda *call: encoded.append(call[-1])),
        head.transformer.register_forward_hook(lambda *call: decoded.append(call[-1])),
    ]
    with torch.no_grad():
        head.reference_points.weight.copy_(arrays["ref_points"])
        out = head(*inputs)
    for hook in hooks:
        hook.remove()
    return SimpleNamespace(
        arrays=arrays,
        head=head,
        inputs=inputs,
        shapes=shapes,
        reference=arrays["ref_points"][None],
        encoded=encoded[0],
        decoded=decoded,
        out=out,
    )


def tokens_of(table) -> list[set[int]]:
    """The tokens that each query of a window table may look at."""
    rows = zip(table.index[0].tolist(), table.valid[0].tolist(), strict=True)
    return [{token for token, valid in zip(*row, strict=True) if valid} for row in rows]


def official_tokens(mome) -> list[set[int]]:
    allowed: list[set[int]] = [set() for _ in range(mome.reference.shape[1])]
    for query, key in mome.arrays["allowed_pairs"].tolist():
        allowed[query].add(key)
    return allowed


def windows_of(mome, compatible: bool, views: str = "first"):
    """Our windows, in the compatibility mode or not."""
    transformer = mome.head.transformer
    transformer.mome_compatible = compatible
    cells = mome.head.locate(mome.reference, mome.inputs[2], mome.shapes, mome.inputs[3])
    transformer.mome_compatible = True
    return build_windows(cells, transformer.window_sizes, views)


def differing_by_rule(mome) -> torch.Tensor:
    """(Q,) where MoME's windows are known to be other ones than our own.

    A coordinate of exactly 1 leaves the BEV map, where MoME wraps into the next row; a reference that no camera sees
    gets the upper left cells of camera 0; MoME floors float32 coordinates, so cells may differ within 1e-3 of an edge.
    """
    fraction = mome.reference[0].double()
    projected = project_references(mome.reference, mome.inputs[2], mome.inputs[3], mome.head.pc_range)
    bev = fraction[:, :2] * torch.tensor(mome.shapes.bev[::-1])
    pixel = projected.pixels[0, ..., :2] / STRIDE  # (N, Q, 2)
    size = torch.tensor(mome.shapes.image[:0:-1])
    near = ((pixel - pixel.round()).abs() < 1e-3) & (pixel > -1) & (pixel < size + 1)
    off_map = (fraction[:, :2] >= 1).any(dim=-1)
    unseen = ~projected.visible[0].any(dim=0)
    return off_map | unseen | ((bev - bev.round()).abs() < 1e-3).any(dim=-1) | near.any(dim=-1).any(dim=0)


def test_windows_are_the_official_ones(mome):
    table = windows_of(mome, compatible=True)
    assert tokens_of(table) == official_tokens(mome)
    camera = table.is_camera
    assert torch.equal((table.valid[0] & ~camera).sum(dim=-1), mome.arrays["n_lidar_allowed"])
    assert torch.equal((table.valid[0] & camera).sum(dim=-1), mome.arrays["n_img_allowed"])


def test_windows_without_the_quirks_equal_the_official_ones_elsewhere(mome):
    ours, official = tokens_of(windows_of(mome, compatible=False)), official_tokens(mome)
    same = ~differing_by_rule(mome)
    assert same.float().mean() > 0.5  # the rules except a few
    assert all(ours[q] == official[q] for q in same.nonzero().flatten().tolist())


def test_router_equals_the_official_one(mome):
    route = mome.out.route
    torch.testing.assert_close(mome.encoded[0], mome.arrays["encoder_out"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(route.logits[0], mome.arrays["router_logits"], atol=1e-4, rtol=1e-4)
    assert torch.equal(route.choice[0], mome.arrays["router_choice"])
    sensors = {"100": [True, True], "010": [True, False], "001": [False, True]}
    for name, working in sensors.items():
        loss = router_loss(route.logits, torch.tensor([working]))
        assert float(loss) == pytest.approx(float(mome.arrays[f"qmod_sel_loss/{name}"]), rel=1e-4)


def test_experts_equal_the_official_ones(mome):
    choice = mome.arrays["router_choice"]
    chosen = [(name, choice == index) for index, name in enumerate(EXPERTS) if (choice == index).any()]
    assert len(mome.decoded) == len(chosen)
    for (name, queries), decoded in zip(chosen, mome.decoded, strict=True):
        expected = mome.arrays[f"expert_out_last/{name}"][queries]
        torch.testing.assert_close(decoded[-1, 0], expected, atol=1e-4, rtol=1e-4, msg=name)


def test_predictions_equal_the_official_ones_in_the_order_of_the_queries(mome):
    order = mome.arrays["out_query_order"]
    for name in BRANCHES:
        ours = getattr(mome.out, name)[0][-1][:, order]
        atol = 1e-3 if name == "center" else 1e-4
        torch.testing.assert_close(ours, mome.arrays[f"out/{name}"], atol=atol, rtol=1e-4, msg=name)
    (boxes, scores, labels), *_ = mome.head.decode(mome.out)
    torch.testing.assert_close(boxes, mome.arrays["dec/bboxes"], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores, mome.arrays["dec/scores"], atol=1e-4, rtol=0)
    assert torch.equal(labels, mome.arrays["dec/labels"])


def test_state_dict_is_the_official_one(mome, shared_dir):
    official = {}
    for row in (shared_dir / "reference" / "mome_head_state_dict.tsv").read_text().splitlines()[2:]:
        key, shape, _ = row.split("\t")
        official[key.removeprefix(PREFIX)] = len([n for n in shape.strip("()").split(",") if n.strip()])
    assert {key: value.dim() for key, value in mome.head.state_dict().items()} == official
