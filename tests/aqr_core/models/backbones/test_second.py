"""SECOND: stages and bad configs."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.backbones import SECOND


def test_stages():
    model = SECOND(4, [6, 8], [1, 2], [1, 2])
    first, second = model(torch.zeros(2, 4, 8, 12))
    assert first.shape == (2, 6, 8, 12)
    assert second.shape == (2, 8, 4, 6)
    assert len(model.blocks[0]) == 2 * 3 and len(model.blocks[1]) == 3 * 3
    assert model.blocks[0][1].eps == 1e-3 and model.blocks[0][1].momentum == 0.01
    assert model.blocks[0][0].bias is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [(dict(layer_nums=[1]), "differ in length"), (dict(conv_cfg=dict(type="DCN")), "'DCN'")],
)
def test_bad_config(changes, message):
    with pytest.raises(ConfigError, match=message):
        SECOND(**{**dict(in_channels=4, out_channels=[6, 8], layer_nums=[1, 1], layer_strides=[1, 2]), **changes})
