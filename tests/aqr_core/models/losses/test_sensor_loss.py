"""The loss that tells AQR's weights which sensors failed, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.losses import SensorLoss

TANH, SIGMOID2, SIGMOID = (-1.0, 0.0, 1.0), (0.0, 1.0, 2.0), (0.0, 1.0, 1.0)  # lowest, neutral, highest
BOTH, LIDAR, CAMERA, NONE = [True, True], [True, False], [False, True], [False, False]


@pytest.mark.parametrize(
    ("working", "target"), [(BOTH, [0.5, 0.5]), (LIDAR, [1.0, 0.0]), (CAMERA, [0.0, 1.0]), (NONE, [0.0, 0.0])]
)
@pytest.mark.parametrize(("low", "neutral", "high"), [TANH, SIGMOID2])
def test_the_target_has_no_loss_whatever_the_range(working, target, low, neutral, high):
    weights = low + (high - low) * torch.tensor(target).expand(1, 3, 2)
    assert SensorLoss()(weights, torch.tensor([working]), (low, neutral, high)) == 0


@pytest.mark.parametrize(("working", "target"), [(BOTH, [1.0, 1.0]), (LIDAR, [1.0, 0.0]), (NONE, [0.0, 0.0])])
def test_weights_that_only_damp_are_neutral_at_their_highest(working, target):
    assert SensorLoss()(torch.tensor([[target]]), torch.tensor([working]), SIGMOID) == 0


def test_numbers_by_hand():
    # LiDAR works and the cameras failed: u = (0.5, 0.75), t = (1, 0), so (0.25 + 0.5625) / 2.
    weights = torch.tensor([[[0.0, 0.5]]])
    assert float(SensorLoss(loss_weight=2.0)(weights, torch.tensor([LIDAR]), TANH)) == pytest.approx(0.8125)
    # The same under a multiplicative weight, of half the query's reach above neutral.
    weights = torch.tensor([[[1.0, 1.5]]])
    assert float(SensorLoss()(weights, torch.tensor([LIDAR]), SIGMOID2)) == pytest.approx(0.40625)


def test_gradients_push_the_failed_sensor_down_and_the_other_up():
    weights = torch.zeros(3, 4, 2, requires_grad=True)
    SensorLoss()(weights, torch.tensor([BOTH, LIDAR, CAMERA]), TANH).backward()
    assert weights.grad is not None
    assert not weights.grad[0].any()  # neutral weights of working sensors stay
    assert (weights.grad[1, :, 0] < 0).all() and (weights.grad[1, :, 1] > 0).all()
    torch.testing.assert_close(weights.grad[2], weights.grad[1].flip(-1))


def test_a_local_failure_is_told_per_query():
    weights = torch.rand(2, 3, 2)
    per_sample = torch.tensor([BOTH, CAMERA])
    per_query = per_sample[:, None].expand(2, 3, 2).clone()
    assert SensorLoss()(weights, per_query, TANH) == SensorLoss()(weights, per_sample, TANH)
    per_query[0, 1] = torch.tensor(LIDAR)  # a camera is blank that only this query's cell shows
    weights = torch.zeros(2, 3, 2, requires_grad=True)
    SensorLoss()(weights, per_query, TANH).backward()
    assert weights.grad is not None and weights.grad[0, 1, 1] > 0 and not weights.grad[0, [0, 2]].any()


def test_one_state_may_speak_for_all_samples():
    weights = torch.rand(2, 3, 2)
    assert SensorLoss()(weights, torch.tensor([LIDAR]), TANH) == SensorLoss()(weights, torch.tensor([LIDAR] * 2), TANH)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_averaged_in_float32(dtype):
    assert SensorLoss()(torch.zeros(1, 2, 2, dtype=dtype), torch.tensor([BOTH]), TANH).dtype == torch.float32


def test_a_factor_of_zero_is_no_way_to_switch_it_off():
    with pytest.raises(ConfigError, match=r"SensorLoss.loss_weight is 0; .* leave aqr_loss out"):
        SensorLoss(loss_weight=0)
