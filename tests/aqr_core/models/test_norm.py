"""Normalisation layers from configs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.models.norm import RowBatchNorm, build_norm


def test_settings_reach_the_layer():
    layer = build_norm(dict(type="BN", eps=1e-3, momentum=0.01, requires_grad=False), 4)
    assert isinstance(layer, nn.BatchNorm2d)
    assert (layer.num_features, layer.eps, layer.momentum, layer.weight.requires_grad) == (4, 1e-3, 0.01, False)


def test_rows_equal_torch_from_two_rows_on():
    torch.manual_seed(0)
    ours, torchs = RowBatchNorm(3), nn.BatchNorm1d(3)
    rows = torch.randn(2, 3)
    assert torch.equal(ours(rows), torchs(rows))
    assert torch.equal(ours.running_var, torchs.running_var)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_rows_use_running_statistics_and_leave_them(count):
    layer = RowBatchNorm(3).train()
    layer.running_mean.fill_(1.0)
    layer.running_var.fill_(4.0 - layer.eps)
    out = layer(torch.full((count, 3), 5.0))
    torch.testing.assert_close(out, torch.full((count, 3), 2.0))
    assert layer.running_mean.tolist() == [1.0] * 3
    assert layer.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("cfg", "message"), [(dict(type="BNN"), "'BNN'"), (dict(type="BN", momentun=1), "momentum"), (dict(), "None")]
)
def test_bad_config(cfg, message):
    with pytest.raises(ConfigError, match=message):
        build_norm(cfg, 4)
