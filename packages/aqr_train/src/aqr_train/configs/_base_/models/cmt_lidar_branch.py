"""Upstream's LiDAR branch under its head: sparse encoder, SECOND, SECONDFPN; 512 channels, cells of eight voxels.

`sparse_shape` and the positional codes of the BEV cells follow from range and voxel size.
"""

_base_ = "cmt_head.py"

model = dict(
    pts_voxel_layer=dict(max_num_points=10, max_voxels=(120000, 160000)),
    pts_voxel_encoder=dict(type="HardSimpleVFE", num_features=5),
    pts_middle_encoder=dict(
        type="SparseEncoder",
        in_channels=5,
        base_channels=16,
        output_channels=128,
        encoder_channels=((16, 16, 32), (32, 32, 64), (64, 64, 128), (128, 128)),
        encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
    ),
    pts_backbone=dict(type="SECOND", in_channels=256, out_channels=[128, 256], layer_nums=[5, 5], layer_strides=[1, 2]),
    pts_neck=dict(
        type="SECONDFPN",
        in_channels=[128, 256],
        out_channels=[256, 256],
        upsample_strides=[1, 2],
        use_conv_for_no_stride=True,
    ),
)
