"""Image and bird's-eye-view backbones against arrays of the official modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from aqr_core.models.backbones import SECOND, ResNet, VoVNet
from aqr_core.models.necks import CPFPN, SECONDFPN

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "golden"
FILES = sorted(path.name for path in FOLDER.glob("golden_backbones_*.npz")) or ["golden_backbones_dev.npz"]


@pytest.fixture(scope="module", params=FILES)
def golden(request, shared_dir):
    with np.load(shared_dir / "golden" / request.param) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """rtol 1e-3 of the largest magnitude, as the golden notes state; measured error is far below."""
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < 1e-5, f"relative error {error:.2e}"


@torch.no_grad()
def test_resnet50_and_cpfpn(golden, with_golden_weights):
    backbone = with_golden_weights(ResNet(50, out_indices=(2, 3)), "img_backbone.")
    neck = with_golden_weights(CPFPN([1024, 2048], 256, 2), "img_neck.")
    levels = backbone(golden["img"])
    for level, name in zip(levels, ("r50/c4_first64ch", "r50/c5_first64ch"), strict=True):
        assert_close(level[:, :64], golden[name])
    for level, name in zip(neck(levels), ("r50/cpfpn0", "r50/cpfpn1"), strict=True):
        assert_close(level, golden[name])


@torch.no_grad()
def test_vovnet99_and_cpfpn(golden, with_golden_weights):
    backbone = with_golden_weights(VoVNet("V-99-eSE"), "img_backbone.")
    neck = with_golden_weights(CPFPN([768, 1024], 256, 2), "img_neck.")
    levels = backbone(golden["img"])
    for level, name in zip(levels, ("vov/stage4_first64ch", "vov/stage5_first64ch"), strict=True):
        assert_close(level[:, :64], golden[name])
    assert_close(neck(levels)[0], golden["vov/cpfpn0"])


@torch.no_grad()
def test_second_and_its_pyramid(golden, with_golden_weights):
    backbone = with_golden_weights(SECOND(256, [128, 256], [5, 5], [1, 2]), "pts_backbone.")
    neck = with_golden_weights(SECONDFPN([128, 256], [256, 256], [1, 2], use_conv_for_no_stride=True), "pts_neck.")
    stages = backbone(golden["bev_in"])
    assert_close(stages[0], golden["second/out0"])
    assert_close(stages[1], golden["second/out1"])
    assert_close(neck(stages), golden["secondfpn"])
