"""Recomputation in whole detectors: the same bits with and without, in every precision, with frozen parts too."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_core.structures import Batch
from aqr_train.gradient_checkpointing import recomputing_parts, set_gradient_checkpointing
from aqr_train.param_groups import build_grouping

HEIGHT, WIDTH = 128, 352  # of the images that the feature maps of the tiny configs belong to


def camera(yaw: float) -> torch.Tensor:
    """(4, 4) `lidar2img` of a camera at the origin that looks along `yaw`."""
    forward, right = [math.cos(yaw), math.sin(yaw), 0.0], [math.sin(yaw), -math.cos(yaw), 0.0]
    u = [200 * r + WIDTH / 2 * f for r, f in zip(right, forward, strict=True)]
    v = [HEIGHT / 2 * forward[0], HEIGHT / 2 * forward[1], -200.0]
    return torch.tensor([[*u, 0], [*v, 0], [*forward, 0], [0, 0, 0, 1]], dtype=torch.float64)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(300, 5, generator=generator) * torch.tensor([60.0, 60.0, 4.0, 255.0, 0.5])
    boxes = torch.tensor([[8.0, 4.0, -1.0, 4.0, 2.0, 1.5, 0.3, 1.0, 0.0], [-9.0, 2.0, -1.0, 1.0, 1.0, 1.7, 0, 0, 0]])
    return Batch(
        tokens=["token"],
        points=[points - torch.tensor([30.0, 30.0, 3.0, 0.0, 0.0])],
        images=torch.randn(1, 6, 3, HEIGHT, WIDTH, generator=generator),
        lidar2img=torch.stack([camera(math.pi / 3 * i) for i in range(6)])[None],
        gt_boxes=[boxes],
        gt_labels=[torch.tensor([0, 8])],
        seeds=[1],
    )


def detector(name: str, frozen: bool) -> nn.Module:
    """In training mode, with dropout and weights that are not neutral, and with the frozen parts of the config."""
    config = load_config(name, ["model.pts_bbox_head.init_cfg=None"])  # which takes longer than a step
    torch.manual_seed(0)
    model = build_detector(config.model)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.1
    for parameter_name, parameter in model.named_parameters():
        if "predictor" in parameter_name:
            nn.init.normal_(parameter, std=0.1)
    if frozen:
        build_grouping(model, 1.0, 0.0, config.optimizer.param_groups)
    return model.train()


@pytest.mark.parametrize(
    ("name", "frozen", "precision"),
    [
        ("cmt_aqr_tiny", True, None),
        ("cmt_aqr_tiny", False, torch.bfloat16),
        ("cmt_aqr_v1_tiny", True, torch.bfloat16),
        ("cmt_aqr_v2_tiny", False, None),
        ("cmt_router_tiny", True, None),
    ],
)
def test_recomputing_changes_no_bit(name: str, frozen: bool, precision: torch.dtype | None) -> None:
    plain = detector(name, frozen)
    set_gradient_checkpointing(plain, False)
    assert recomputing_parts(plain) == []
    recomputing = copy.deepcopy(plain)
    set_gradient_checkpointing(recomputing, True)
    parts = recomputing_parts(recomputing)
    assert ("img_backbone" in parts) == (not frozen)
    assert "pts_bbox_head.transformer.decoder.layers.2" in parts
    assert any("generator.layers" in part or "encoder.layers" in part for part in parts)
    found = []
    for model in (plain, recomputing):
        torch.manual_seed(1)
        with torch.autocast("cpu", precision, enabled=precision is not None):
            losses = model(batch())
        losses["loss"].backward()
        found.append((losses, torch.rand(3)))
    (losses, random), (others, other_random) = found
    assert losses.keys() == others.keys() and all(torch.equal(losses[term], others[term]) for term in losses)
    assert torch.equal(random, other_random)
    for (key, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad), key
        assert (a.grad is not None) == a.requires_grad, key
    for (key, a), b in zip(plain.named_buffers(), recomputing.buffers(), strict=True):
        assert torch.equal(a, b), key


def test_none_leaves_every_part_as_its_config_says() -> None:
    model = detector("cmt_aqr_tiny", frozen=False)
    model.img_backbone.with_cp = True
    set_gradient_checkpointing(model, None)
    assert recomputing_parts(model) == ["img_backbone"]
    model.img_backbone.requires_grad_(False)
    assert recomputing_parts(model) == []


def test_nothing_to_recompute() -> None:
    model = nn.Linear(1, 1)
    set_gradient_checkpointing(model, None)
    set_gradient_checkpointing(model, False)
    assert recomputing_parts(model) == []
    with pytest.raises(ConfigError, match="no part of the model can recompute; set it to None"):
        set_gradient_checkpointing(model, True)
