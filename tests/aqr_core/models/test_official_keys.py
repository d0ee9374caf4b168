"""State-dict names and shapes of the R50 detector without its head, against the official listing."""

from __future__ import annotations

import csv

import pytest

from aqr_core.models import backbones, necks, voxel  # noqa: F401  registers the parts
from aqr_core.registry import MODELS, build

BRANCHES = dict(
    img_backbone=dict(
        type="ResNet",
        depth=50,
        num_stages=4,
        out_indices=(2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        with_cp=True,
        style="pytorch",
    ),
    img_neck=dict(type="CPFPN", in_channels=[1024, 2048], out_channels=256, num_outs=2),
    pts_middle_encoder=dict(
        type="SparseEncoder",
        in_channels=5,
        sparse_shape=[41, 1024, 1024],
        output_channels=128,
        order=("conv", "norm", "act"),
        encoder_channels=((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
        encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
        block_type="basicblock",
    ),
    pts_backbone=dict(
        type="SECOND",
        in_channels=256,
        out_channels=[128, 256],
        layer_nums=[5, 5],
        layer_strides=[1, 2],
        norm_cfg=dict(type="BN", eps=1e-3, momentum=0.01),
        conv_cfg=dict(type="Conv2d", bias=False),
    ),
    pts_neck=dict(
        type="SECONDFPN",
        in_channels=[128, 256],
        out_channels=[256, 256],
        upsample_strides=[1, 2],
        norm_cfg=dict(type="BN", eps=1e-3, momentum=0.01),
        upsample_cfg=dict(type="deconv", bias=False),
        use_conv_for_no_stride=True,
    ),
)

# State-dict entries and trainable parameters; these hold the names where the official listing is absent.
SIZES = dict(
    img_backbone=(318, 23_508_032),
    img_neck=(6, 1_377_024),
    pts_middle_encoder=(126, 2_694_352),
    pts_backbone=(72, 4_280_832),
    pts_neck=(12, 295_936),
)


def entries(name: str) -> list[tuple[str, str]]:
    state = build(BRANCHES[name], MODELS).state_dict()
    return [(f"{name}.{key}", ",".join(map(str, value.shape)) or "scalar") for key, value in state.items()]


@pytest.mark.parametrize("name", BRANCHES)
def test_keys_and_shapes_are_the_official_ones(name, shared_dir):
    with open(shared_dir / "reference/cmt_r50_state_dict.tsv") as file:
        official = [(row["key"], row["shape"]) for row in csv.DictReader(file, delimiter="\t")]
    assert entries(name) == [row for row in official if row[0].startswith(f"{name}.")]


@pytest.mark.parametrize("name", BRANCHES)
def test_number_of_entries_and_parameters(name):
    module = build(BRANCHES[name], MODELS)
    assert (len(module.state_dict()), sum(p.numel() for p in module.parameters())) == SIZES[name]
