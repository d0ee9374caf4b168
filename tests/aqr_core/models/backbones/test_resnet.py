"""ResNet: shapes, what stays fixed in training, and bad configs."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.models.backbones import ResNet


@pytest.mark.parametrize(("depth", "channels"), [(18, (16, 32)), (34, (16, 32)), (50, (64, 128)), (101, (64, 128))])
def test_strides_and_channels(depth, channels):
    c4, c5 = ResNet(depth, base_channels=4)(torch.zeros(2, 3, 64, 96))
    assert c4.shape == (2, channels[0], 4, 6)
    assert c5.shape == (2, channels[1], 2, 3)


def test_published_sizes():
    assert sum(p.numel() for p in ResNet(18).parameters()) == 11_176_512
    assert sum(p.numel() for p in ResNet(50).parameters()) == 23_508_032


def test_norm_eval_fixes_statistics_but_not_affine_parameters():
    model = ResNet(18, base_channels=4, norm_eval=True).train()
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 3, 64, 64))[0].sum().backward()
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if "running" in key)
    assert model.bn1.weight.grad is not None
    assert model.training and not model.bn1.training
    assert ResNet(18, base_channels=4, norm_eval=False).train().bn1.training


def test_frozen_stages_have_no_gradient_and_stay_in_evaluation_mode():
    model = ResNet(18, base_channels=4, norm_eval=False, frozen_stages=1).train()
    model(torch.randn(2, 3, 64, 64))[1].sum().backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None} == {"conv1", "bn1", "layer1"}
    assert not model.layer1[0].bn1.training and model.layer2[0].bn1.training


def test_norm_without_gradient():
    model = ResNet(18, base_channels=4, norm_cfg=dict(type="BN", requires_grad=False))
    assert not model.layer3[0].bn2.weight.requires_grad


def test_recomputing_blocks_changes_no_gradient():
    torch.manual_seed(0)
    plain = ResNet(18, base_channels=4).train()
    recomputing = ResNet(18, base_channels=4, with_cp=True).train()
    recomputing.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    for model in (plain, recomputing):
        model(images)[1].square().sum().backward()
    for a, b in zip(plain.parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_blocks_start_as_the_identity_unless_asked_otherwise():
    assert ResNet(50, base_channels=4).layer1[0].bn3.weight.abs().max() == 0
    assert ResNet(18, base_channels=4, zero_init_residual=False).layer1[0].bn2.weight.min() == 1


def test_caffe_style_moves_the_stride():
    strides = [ResNet(50, base_channels=4, style=style).layer2[0] for style in ("pytorch", "caffe")]
    assert [(block.conv1.stride[0], block.conv2.stride[0]) for block in strides] == [(1, 2), (2, 1)]
    assert all(isinstance(block.downsample, nn.Sequential) for block in strides)


@pytest.mark.parametrize("changes", [dict(depth=20), dict(style="tf"), dict(out_indices=(4,)), dict(num_stages=5)])
def test_bad_config(changes):
    with pytest.raises(ConfigError):
        ResNet(**{"depth": 18, "base_channels": 4, **changes})
