"""Focal and L1 loss by hand."""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.losses.focal import FocalLoss, L1Loss


def test_focal_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)]])  # p = 0.5 and 0.75
    loss = FocalLoss(loss_weight=2.0).elementwise(logits, torch.tensor([1]))
    # Class 0 is negative: 0.75 * 0.5^2 * ln 2. Class 1 is positive: 0.25 * 0.25^2 * ln(4/3).
    expected = 2 * torch.tensor([[0.75 * 0.25 * math.log(2), 0.25 * 0.0625 * math.log(4 / 3)]])
    torch.testing.assert_close(loss, expected)


def test_background_label_makes_all_classes_negative():
    logits = torch.zeros(1, 3)
    loss = FocalLoss().elementwise(logits, torch.tensor([3]))
    torch.testing.assert_close(loss, torch.full((1, 3), 0.75 * 0.25 * math.log(2)))


def test_focal_loss_is_finite_for_extreme_logits():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = FocalLoss().elementwise(logits, torch.tensor([1])).sum()
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_l1_loss_by_hand():
    loss = L1Loss(loss_weight=0.25).elementwise(torch.tensor([1.0, -2.0]), torch.tensor([3.0, -2.0]))
    assert loss.tolist() == [0.5, 0.0]


def test_unknown_reductions_are_named():
    with pytest.raises(ConfigError, match="'sum'"):
        FocalLoss(reduction="sum")
    with pytest.raises(ConfigError, match="'none'"):
        L1Loss(reduction="none")
