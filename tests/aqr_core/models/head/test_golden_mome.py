"""MoME's head (router and three experts) against arrays of the official one: golden/cmt.md, golden_mome_*.npz.

MoME's windows, its router as a `WindowEncoderLayer`, and its experts as a `CmtHead` with a `MOADTransformer`, at the
real grid sizes. Every number comes from the file; inputs are drawn again from the seeds it states.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aqr_core.models.aqr.projection import MapShapes, locate_queries
from aqr_core.models.aqr.weight_generator import WindowEncoderLayer
from aqr_core.models.aqr.windows import WindowTable, build_windows
from aqr_core.models.head.position import inverse_sigmoid, pos2embed
from aqr_core.models.head.queries import project_references, ray_query_embedding

FOLDER = Path(__file__).resolve().parents[5] / "shared" / "golden"
FILES = sorted(path.name for path in FOLDER.glob("golden_mome_*.npz")) or ["golden_mome_aqr_dev.npz"]
EXPERTS = ("fused", "bev", "img")  # router choice 0, 1, 2
PREFIX = "pts_bbox_head."
STRIDE = 16  # of the image features


def drawn(recipe: str, seed: int) -> torch.Tensor:
    """The array that 'RandomState(seed+1).standard_normal((1,2))*0.5 float32' describes."""
    pattern = r"RandomState\(seed\+(\d+)\)\.standard_normal\(\(([\d,]+)\)\)\*([\d.]+) float32"
    offset, shape, factor = re.fullmatch(pattern, recipe).groups()
    rng = np.random.RandomState(seed + int(offset))
    normal = rng.standard_normal(tuple(int(n) for n in shape.split(",")))
    return torch.from_numpy((normal * float(factor)).astype("float32"))


@pytest.fixture(scope="module", params=FILES)
def mome(request, shared_dir, build_golden_head, with_official_weights):
    """Everything up to the decoder, computed by our head: tokens, positions and both parts of the query position."""
    arrays = {k: torch.from_numpy(v) for k, v in np.load(shared_dir / "golden" / request.param).items()}
    config = json.loads(bytes(arrays.pop("config_json").numpy()))
    bev, images = drawn(config["x"], config["seed"]), drawn(config["x_img"], config["seed"])[None]
    low, high = config["pc_range"][:3], config["pc_range"][3:]
    head = build_golden_head(
        **{"tasks": [dict(num_class=10)], "scalar": 10, "post_center_range": [-61.2, -61.2, -10, 61.2, 61.2, 10]}
        | {key: config[key] for key in ("pc_range", "grid_size", "num_query", "num_layers", "max_num")},
        transformer="MOADTransformer",
        transformer_options=dict(use_cam_embed=True),
    )
    with_official_weights(head, PREFIX)
    shapes = MapShapes(bev=tuple(bev.shape[-2:]), image=(images.shape[1], *images.shape[-2:]))
    pad_shape = (STRIDE * shapes.image[1], STRIDE * shapes.image[2])
    lidar2img = arrays["lidar2img"][None]
    reference = arrays["ref_points"][None]
    with torch.no_grad():
        head.reference_points.weight.copy_(reference[0])
        img2lidar = torch.linalg.inv(lidar2img)
        fraction = inverse_sigmoid(reference).sigmoid()
        rays = ray_query_embedding(fraction, lidar2img, img2lidar, pad_shape, head.pc_range, head.rv_embedding)
        bev_tokens = head.shared_conv(bev).flatten(2).mT
        bev_positions = head.bev_position(shapes.bev)[None]
        image_tokens = images.permute(0, 1, 3, 4, 2).flatten(1, 3)
        image_positions = head.image_position(shapes.image[1:], img2lidar, pad_shape)
        codes = head.bev_embedding(pos2embed(fraction, 256))
    return SimpleNamespace(
        arrays=arrays,
        head=head,
        maps=(bev, images),
        lidar2img=lidar2img,
        img2lidar=img2lidar,
        pad_shape=pad_shape,
        reference=reference,
        cells=locate_queries(
            reference,
            lidar2img,
            shapes=shapes,
            pad_shape=pad_shape,
            pc_range=config["pc_range"],
            cell_m=tuple((high[i] - low[i]) / shapes.bev[1 - i] for i in range(2)),
        ),
        edges=tuple(config["window_sizes"]),
        codes=(codes, rays),
        tokens=dict(bev=bev_tokens, img=image_tokens, fused=torch.cat([bev_tokens, image_tokens], dim=1)),
        positions=dict(
            bev=bev_positions, img=image_positions, fused=torch.cat([bev_positions, image_positions], dim=1)
        ),
    )


def official_table(mome) -> WindowTable:
    """MoME's own windows, quirks included."""
    query, key = mome.arrays["allowed_pairs"].long().unbind(-1)
    counts = torch.bincount(query, minlength=mome.reference.shape[1])
    index = torch.zeros(1, len(counts), int(counts.max()), dtype=torch.long)
    valid = torch.arange(index.shape[-1]) < counts[:, None]
    index[0][valid] = key[query.argsort(stable=True)]
    slots = index.shape[-1]
    return WindowTable(index, valid[None], torch.zeros(slots, dtype=torch.bool), torch.zeros(slots))


def differing_by_rule(mome) -> torch.Tensor:
    """(Q,) where MoME's windows are known to be other ones than ours.

    A coordinate of exactly 1 leaves the BEV map, where MoME wraps into the next row; a reference that no camera sees
    gets the upper left cells of camera 0; MoME floors float32 coordinates, so cells may differ within 1e-3 of an edge.
    """
    shapes, fraction = mome.cells.shapes, mome.reference[0].double()
    off_map = (fraction[:, :2] >= 1).any(dim=-1)
    unseen = ~mome.cells.visible[0].any(dim=-1)
    bev = fraction[:, :2] * torch.tensor([shapes.bev[1], shapes.bev[0]])
    projected = project_references(mome.reference, mome.lidar2img, mome.pad_shape, mome.head.pc_range)
    pixel = projected.pixels[0, ..., :2] / STRIDE  # (N, Q, 2)
    size = torch.tensor([shapes.image[2], shapes.image[1]])
    near = ((pixel - pixel.round()).abs() < 1e-3) & (pixel > -1) & (pixel < size + 1)
    return off_map | unseen | ((bev - bev.round()).abs() < 1e-3).any(dim=-1) | near.any(dim=-1).any(dim=0)


def test_windows_equal_the_official_ones(mome):
    table = build_windows(mome.cells, mome.edges, views="first")
    query, key = mome.arrays["allowed_pairs"].long().unbind(-1)
    same = ~differing_by_rule(mome)
    assert same.float().mean() > 0.5  # the rules except a few
    for q in same.nonzero().flatten().tolist():
        ours = table.index[0, q][table.valid[0, q]]
        assert sorted(ours.tolist()) == sorted(key[query == q].tolist()), q
    camera = table.is_camera
    lidar_count = (table.valid[0] & ~camera).sum(dim=-1)
    camera_count = (table.valid[0] & camera).sum(dim=-1)
    assert torch.equal(lidar_count[same], mome.arrays["n_lidar_allowed"][same])
    assert torch.equal(camera_count[same], mome.arrays["n_img_allowed"][same])


def test_router_equals_the_official_one(mome, with_official_weights):
    layer = with_official_weights(WindowEncoderLayer(256, 4, 1024, 0.1), f"{PREFIX}transformer.encoder.layers.0.")
    norm = with_official_weights(torch.nn.LayerNorm(256), f"{PREFIX}transformer.encoder.post_norm.")
    classify = with_official_weights(torch.nn.Linear(256, 3), f"{PREFIX}transformer.selected_cls.")
    memory, position = mome.tokens["fused"], mome.positions["fused"]
    with torch.no_grad():
        query_pos = mome.head.transformer.query_position(*mome.codes, has_lidar=True)
        encode = lambda table: norm(layer(torch.zeros_like(query_pos), query_pos, memory + position, memory, table))[0]  # noqa: E731
        encoded = encode(official_table(mome))
        logits = classify(encoded)
        same = ~differing_by_rule(mome)
        by_our_windows = encode(build_windows(mome.cells, mome.edges, views="first"))[same]
    torch.testing.assert_close(encoded, mome.arrays["encoder_out"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(by_our_windows, mome.arrays["encoder_out"][same], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, mome.arrays["router_logits"], atol=1e-4, rtol=1e-4)
    assert torch.equal(logits.argmax(dim=-1), mome.arrays["router_choice"])
    for target, name in enumerate(("100", "010", "001")):
        loss = F.cross_entropy(logits, torch.full((len(logits),), target))
        assert float(loss) == pytest.approx(float(mome.arrays[f"qmod_sel_loss/{name}"]), rel=1e-4)


def decode(mome, expert: str, queries: torch.Tensor) -> torch.Tensor:
    """(L, 1, q, C) of one expert, whose queries see only each other."""
    head, has_lidar = mome.head.transformer, expert != "img"
    bev_code, rays = mome.codes
    memory, position = mome.tokens[expert], mome.positions[expert]
    query_pos = head.query_position(bev_code, rays if expert != "bev" else None, has_lidar=has_lidar)[:, queries]
    return head(memory, position, query_pos, values=head.values(memory, mome.img2lidar, has_lidar=has_lidar))


def test_experts_equal_the_official_ones(mome):
    choice = mome.arrays["router_choice"]
    order, last = [], []
    with torch.no_grad():
        for index, expert in enumerate(EXPERTS):
            queries = (choice == index).nonzero().flatten()
            if not len(queries):
                continue
            decoded = decode(mome, expert, queries)[-1]
            expected = mome.arrays[f"expert_out_last/{expert}"][queries]
            torch.testing.assert_close(decoded[0], expected, atol=1e-4, rtol=1e-4, msg=expert)
            order.append(queries)
            last.append(decoded)
        gathered = torch.cat(order)
        assert torch.equal(gathered, mome.arrays["out_query_order"])
        # MoME keeps the last decoder layer alone and gives it to the task head of every layer.
        repeated = torch.cat(last, dim=1).expand(mome.head.transformer.num_layers, -1, -1, -1)
        out = mome.head.predict_boxes(repeated, mome.reference[:, gathered])
        (boxes, scores, labels), *_ = mome.head.decode(out)
    for name in ("cls_logits", "center", "height", "dim", "rot", "vel"):
        atol = 1e-3 if name == "center" else 1e-4
        torch.testing.assert_close(
            getattr(out, name)[0][-1], mome.arrays[f"out/{name}"], atol=atol, rtol=1e-4, msg=name
        )
    torch.testing.assert_close(boxes, mome.arrays["dec/bboxes"], atol=1e-3, rtol=0)
    torch.testing.assert_close(scores, mome.arrays["dec/scores"], atol=1e-4, rtol=0)
    assert torch.equal(labels, mome.arrays["dec/labels"])


@pytest.mark.parametrize("expert", EXPERTS)
def test_what_the_head_is_given_chooses_the_expert(mome, expert):
    bev, images = mome.maps
    every = torch.arange(mome.reference.shape[1])
    with torch.no_grad():
        out = mome.head(
            bev if expert != "img" else None, images if expert != "bev" else None, mome.lidar2img, mome.pad_shape
        )
        expected = mome.head.predict_boxes(decode(mome, expert, every), mome.reference)
    for name in ("cls_logits", "center", "height", "dim", "rot", "vel"):
        torch.testing.assert_close(getattr(out, name)[0], getattr(expected, name)[0], atol=1e-4, rtol=1e-5, msg=name)


def test_state_dict_of_the_experts_is_the_official_one(mome, shared_dir):
    official = {}
    for row in (shared_dir / "reference" / "mome_head_state_dict.tsv").read_text().splitlines()[2:]:
        key, shape, _ = row.split("\t")
        official[key.removeprefix(PREFIX)] = len([n for n in shape.strip("()").split(",") if n.strip()])
    ours = {key: value.dim() for key, value in mome.head.state_dict().items()}
    router = {key for key in official if key.startswith(("transformer.encoder.", "transformer.selected_cls."))}
    assert len(router) == 16
    assert ours.keys() == official.keys() - router
    assert all(ours[key] == official[key] for key in ours)
