"""Frozen means no gradient and no drifting statistics, whatever `train()` says."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.models.freezing import freeze_modules


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
    )


def test_frozen_module_keeps_weights_and_statistics_and_records_no_graph():
    model = network()
    names = freeze_modules(model, ["0"])
    assert names == ("0.0.bias", "0.0.weight", "0.1.bias", "0.1.weight")
    model.train()
    assert [module.training for module in model[0].modules()] == [False] * 4
    assert model[2].training
    before = copy.deepcopy(model.state_dict())
    assert not model[0](torch.ones(2, 1, 3, 3)).requires_grad
    model(torch.randn(2, 1, 3, 3)).square().sum().backward()
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items() if key.startswith("0."))
    assert not torch.equal(after["2.running_mean"], before["2.running_mean"])
    assert model[0][0].weight.grad is None
    assert model[1].weight.grad is not None


def test_globs_cross_dots_and_may_name_a_single_parameter():
    model = network()
    assert freeze_modules(model, ["2.weight"]) == ("2.weight",)
    assert model.train()[2].training
    assert freeze_modules(model, ["0.*"]) == ("0.0.bias", "0.0.weight", "0.1.bias", "0.1.weight", "2.weight")


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_stay_frozen_on_their_own(clone):
    model = network()
    freeze_modules(model, ["0"])
    twin = clone(model).train()
    assert not twin[0][1].training
    model[0][1].training = True
    assert not twin[0][1].training


def test_pattern_without_match():
    with pytest.raises(ConfigError, match="img_backbone"):
        freeze_modules(network(), ["img_backbone"])
