"""The share of LiDAR tokens against a softmax over all of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_core.models.aqr import build_windows
from aqr_train.routing.attention_mass import AttentionMass

NUM_BEV, QUERIES = 32 * 32, 7


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    bev = torch.randn(2, 128, 32, 32, generator=generator)
    images = torch.randn(2, 6, 128, 8, 22, generator=generator)
    lidar2cam = torch.tensor([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 40], [0, 0, 0, 1]])  # from 40 m behind
    cam2img = torch.tensor([[176.0, 0, 176, 0], [0, 176, 64, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    lidar2img = (cam2img @ lidar2cam).double().repeat(2, 6, 1, 1)
    return bev, images, lidar2img, (128, 352)


def build_head(**bias):
    config = load_config("cmt_aqr_tiny_scratch").model
    head = config.pts_bbox_head
    head.num_query = QUERIES
    del head["init_cfg"]  # whose heads look at one sensor each
    head.attention_bias_config.update(bias)
    torch.manual_seed(0)
    built = build_detector(config).pts_bbox_head.eval()
    torch.nn.init.normal_(built.aqr_weight_generator.predictor.weight, std=3.0)
    return built


def dense_bias(head):
    """(B, 1, Q, T) by the formula of v3."""
    aqr = head.last_aqr
    lidar, camera = (aqr.scale * aqr.weights).unbind(-1)  # (B, Q) each
    tokens = aqr.cells.shapes.num_tokens
    generator = head.attention_bias_generator
    if not generator.use_local_bias:
        bias = torch.where(torch.arange(tokens) < NUM_BEV, lidar[..., None], camera[..., None])
        return bias[:, None]
    windows = build_windows(aqr.cells, generator.window_size)
    inside = torch.zeros(2, QUERIES, tokens).scatter_add(2, windows.index, windows.valid.float()).bool()
    is_bev = torch.arange(tokens) < NUM_BEV
    return torch.where(inside, torch.where(is_bev, lidar[..., None], camera[..., None]), 0.0)[:, None]


@pytest.mark.parametrize(
    "bias", [dict(attention_backend="dense"), dict(attention_backend="window"), dict(use_local_bias=False)]
)
def test_the_share_equals_that_of_a_dense_softmax(inputs, bias):
    head = build_head(**bias)
    seen = []
    for layer in head.transformer.decoder.layers:
        layer.attentions[1].attn.register_forward_hook(lambda attn, tensors, _: seen.append((attn, tensors)))
    with torch.no_grad(), AttentionMass(head) as mass:
        head(*inputs)
        share = mass.take()  # (B, Q, L, A)
        for layer, (attn, (query, key, _)) in enumerate(seen):
            q, k = (
                F.linear(x, weight, offset).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
                for x, weight, offset in zip(
                    (query, key), attn.in_proj_weight.chunk(3), attn.in_proj_bias.chunk(3), strict=False
                )
            )
            logits = (q @ k.mT).double() / math.sqrt(q.shape[-1]) + dense_bias(head)
            expected = logits.softmax(dim=-1)[..., :NUM_BEV].sum(dim=-1)  # (B, A, Q)
            torch.testing.assert_close(share[:, :, layer], expected.mT.float(), atol=1e-5, rtol=0)
    assert share.shape == (2, QUERIES, 3, 4) and 0 < share.min() and share.max() < 1
    assert dense_bias(head).abs().max() > 0.5  # the test would not see a bias of zero


def test_watching_changes_nothing_and_ends(inputs):
    head = build_head()
    with torch.no_grad():
        plain = head(*inputs)
        with AttentionMass(head) as mass:
            watched = head(*inputs)
            mass.take()
            assert mass._layers == []
        head(*inputs)
    assert torch.equal(plain.cls_logits[0], watched.cls_logits[0])
    assert mass._layers == []
