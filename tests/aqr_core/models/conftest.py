"""Weights of the golden files, and a detector small enough to run in milliseconds."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from torch import nn

from aqr_core.structures import Batch

RANGE = [-8.0, -8.0, -5.0, 8.0, 8.0, 3.0]


def golden_value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value that the golden files give to one official state-dict key of a backbone."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF)
    leaf = key.split(".")[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    normal = rng.standard_normal(shape)
    if leaf == "running_var":
        return (1 + 0.2 * np.abs(normal)).astype("float32")
    if leaf == "running_mean" or leaf == "bias":
        return (0.05 * normal).astype("float32")
    if len(shape) >= 2:
        return (normal * 1.5 / np.sqrt(np.prod(shape[1:]))).astype("float32")
    return (1 + 0.05 * normal).astype("float32")


@pytest.fixture(scope="session")
def with_golden_weights():
    """`f(module, prefix)`: the module in evaluation mode, carrying the golden weights of that prefix."""

    def fill(module: nn.Module, prefix: str) -> nn.Module:
        state = {
            key: torch.from_numpy(np.asarray(golden_value(prefix + key, tuple(value.shape))))
            for key, value in module.state_dict().items()
        }
        module.load_state_dict(state)
        return module.eval()

    return fill


@pytest.fixture
def tiny_model() -> dict:
    """A fusion detector of 16 x 16 m with 32 x 64 px images and 10 queries."""
    attention = dict(embed_dims=32, num_heads=2, dropout=0.1)
    decoder_layer = dict(
        type="PETRTransformerDecoderLayer",
        attn_cfgs=[dict(type="MultiheadAttention", **attention), dict(type="PETRMultiheadFlashAttention", **attention)],
        ffn_cfgs=dict(type="FFN", embed_dims=32, feedforward_channels=64, num_fcs=2),
        feedforward_channels=64,
        operation_order=("self_attn", "norm", "cross_attn", "norm", "ffn", "norm"),
    )
    decoder = dict(
        type="PETRTransformerDecoder",
        return_intermediate=True,
        num_layers=2,
        transformerlayers=decoder_layer,
    )
    return dict(
        type="CmtDetector",
        use_grid_mask=True,
        img_backbone=dict(type="ResNet", depth=18, base_channels=4, out_indices=(2, 3), norm_eval=False),
        img_neck=dict(type="CPFPN", in_channels=[16, 32], out_channels=32, num_outs=2),
        pts_voxel_layer=dict(
            num_point_features=5,
            max_num_points=10,
            voxel_size=[0.25, 0.25, 0.2],
            max_voxels=(1000, 2000),
            point_cloud_range=RANGE,
        ),
        pts_voxel_encoder=dict(type="HardSimpleVFE", num_features=5),
        pts_middle_encoder=dict(
            type="SparseEncoder",
            in_channels=5,
            output_channels=8,
            base_channels=4,
            encoder_channels=((4, 4, 8), (8, 8, 8), (8, 8, 8), (8, 8)),
            encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
        ),
        pts_backbone=dict(type="SECOND", in_channels=16, out_channels=[8, 8], layer_nums=[1, 1], layer_strides=[1, 2]),
        pts_neck=dict(
            type="SECONDFPN",
            in_channels=[8, 8],
            out_channels=[8, 8],
            upsample_strides=[1, 2],
            use_conv_for_no_stride=True,
        ),
        pts_bbox_head=dict(
            type="CmtHead",
            in_channels=16,
            hidden_dim=32,
            num_query=10,
            scalar=2,
            depth_num=8,
            tasks=[dict(num_class=10)],
            bbox_coder=dict(type="MultiTaskBBoxCoder", pc_range=RANGE, max_num=5),
            separate_head=dict(type="SeparateTaskHead", init_bias=-2.19, final_kernel=1),
            transformer=dict(type="CmtTransformer", decoder=decoder),
        ),
    )


@pytest.fixture
def tiny_batch() -> Batch:
    """Two samples, two cameras; the second sample has no point and no box."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 5, generator=generator) * torch.tensor([16.0, 16.0, 3.0, 255.0, 0.5])
    points -= torch.tensor([8.0, 8.0, 2.5, 0.0, 0.0])
    camera = torch.tensor(
        [[32.0, 32.0, 0.0, 0.0], [0.0, 16.0, -32.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
        dtype=torch.float64,
    )
    boxes = torch.tensor([[1.0, 4.0, -1.0, 4.0, 2.0, 1.5, 0.3, 1.0, 0.0], [-3.0, 2.0, -1.0, 1.0, 1.0, 1.7, 0, 0, 0]])
    return Batch(
        tokens=["first", "second"],
        points=[points, torch.zeros(0, 5)],
        images=torch.randn(2, 2, 3, 32, 64, generator=generator),
        lidar2img=camera.expand(2, 2, 4, 4).clone(),
        gt_boxes=[boxes, torch.zeros(0, 9)],
        gt_labels=[torch.tensor([0, 8]), torch.zeros(0, dtype=torch.long)],
        seeds=[1, 2],
    )
