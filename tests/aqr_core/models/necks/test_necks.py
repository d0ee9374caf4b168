"""Both pyramids by hand-set weights, and bad configs."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.necks import CPFPN, SECONDFPN


def test_cpfpn_adds_the_upsampled_coarse_level_and_convolves_the_finest():
    neck = CPFPN([1, 1], 1, 2)
    for conv in (*neck.lateral_convs, neck.fpn_convs[0]):
        torch.nn.init.zeros_(conv.conv.weight)
        conv.conv.weight.data[0, 0, conv.conv.weight.shape[2] // 2, conv.conv.weight.shape[3] // 2] = 1.0
    neck.fpn_convs[0].conv.bias.data.fill_(0.5)
    fine, coarse = torch.arange(6.0).view(1, 1, 2, 3), torch.tensor([[[[10.0, 20.0]]]])
    out0, out1 = neck((fine, coarse))
    assert out0.flatten().tolist() == [10.5, 11.5, 22.5, 13.5, 14.5, 25.5]
    assert torch.equal(out1, coarse)


def test_cpfpn_may_return_the_finest_level_alone():
    assert len(CPFPN([1, 1], 2, 1)((torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)))) == 1
    with pytest.raises(ConfigError, match="num_outs=3"):
        CPFPN([1, 1], 2, 3)


def test_second_fpn_brings_stages_to_one_resolution():
    neck = SECONDFPN([4, 6], [3, 5], [1, 2], use_conv_for_no_stride=True)
    assert neck((torch.zeros(2, 4, 8, 12), torch.zeros(2, 6, 4, 6))).shape == (2, 8, 8, 12)
    assert isinstance(neck.deblocks[0][0], torch.nn.Conv2d)
    assert isinstance(SECONDFPN([4], [3], [1]).deblocks[0][0], torch.nn.ConvTranspose2d)


@pytest.mark.parametrize(
    ("changes", "message"),
    [(dict(upsample_strides=[1]), "differ in length"), (dict(upsample_cfg=dict(type="nearest")), "'nearest'")],
)
def test_bad_second_fpn(changes, message):
    with pytest.raises(ConfigError, match=message):
        SECONDFPN(**{**dict(in_channels=[4, 6], out_channels=[3, 5], upsample_strides=[1, 2]), **changes})
