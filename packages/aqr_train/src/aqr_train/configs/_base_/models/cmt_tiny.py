"""CMT in small, with upstream's parts and names: 32x32 BEV tokens of 2 m, 6x8x22 image tokens, 128 channels.

Built on the range of its dataset. `init_cfg` starts cross-attention at the right place; without it the attention of
a DETR-like detector is uniform for the first thousand steps. One residual block per sparse stage instead of two: the
sparse encoder is half of a training step on the CPU.
"""

_base_ = ["../datasets/nus_tiny.py", "cmt_head.py"]

_voxel_size = [0.25, 0.25, 0.2]
_feature_maps = dict(bev_feature_shape=(32, 32), pers_feature_shape=(6, 8, 22))

model = dict(
    use_grid_mask=False,
    img_backbone=dict(type="ResNet", depth=18, base_channels=16, out_indices=(2, 3), norm_eval=False),
    img_neck=dict(type="CPFPN", in_channels=[64, 128], out_channels=128, num_outs=2),
    pts_voxel_layer=dict(
        voxel_size=_voxel_size,
        point_cloud_range=_base_._point_cloud_range,
        max_num_points=10,
        max_voxels=(30000, 30000),
    ),
    pts_voxel_encoder=dict(type="HardSimpleVFE", num_features=5),
    pts_middle_encoder=dict(
        type="SparseEncoder",
        in_channels=5,
        base_channels=8,
        output_channels=64,
        encoder_channels=((8, 16), (16, 32), (32, 64), (64,)),
        encoder_paddings=((0, 1), (0, 1), (0, [0, 1, 1]), (0,)),
    ),
    pts_backbone=dict(type="SECOND", in_channels=128, out_channels=[64, 128], layer_nums=[3, 3], layer_strides=[1, 2]),
    pts_neck=dict(
        type="SECONDFPN",
        in_channels=[64, 128],
        out_channels=[64, 64],
        upsample_strides=[1, 2],
        use_conv_for_no_stride=True,
    ),
    pts_bbox_head=dict(
        in_channels=128,
        hidden_dim=128,
        num_query=100,
        depth_num=32,
        scalar=5,
        init_cfg=dict(type="Locality"),
        bbox_coder=dict(
            pc_range=_base_._point_cloud_range,
            post_center_range=[-36.0, -36.0, -10.0, 36.0, 36.0, 10.0],
            voxel_size=_voxel_size,
            max_num=200,
        ),
        transformer=dict(
            decoder=dict(
                num_layers=3,
                transformerlayers=dict(
                    attn_cfgs=[
                        dict(type="MultiheadAttention", embed_dims=128, num_heads=4, dropout=0.0),
                        dict(type="PETRMultiheadAttention", embed_dims=128, num_heads=4, dropout=0.0),
                    ],
                    ffn_cfgs=dict(embed_dims=128, feedforward_channels=256),
                ),
            ),
        ),
    ),
)
