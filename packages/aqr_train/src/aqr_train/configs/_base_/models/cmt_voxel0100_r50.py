"""CMT fusion, ResNet-50 at 800x320, voxels of 0.1 m: upstream's model, whose released weights fit.

`sparse_shape` and `grid_size` stay at upstream's 1024 cells although the range holds 1080: the positional codes of
trained weights depend on it, and LiDAR beyond x, y = 48.4 m is dropped there too.
"""

_base_ = "../datasets/nus_fusion_800x320.py"

_voxel_size = [0.1, 0.1, 0.2]
_grid_size = [1024, 1024, 40]

model = dict(
    type="CmtDetector",
    use_grid_mask=True,
    img_backbone=dict(type="ResNet", depth=50, out_indices=(2, 3), norm_eval=True, with_cp=True),
    img_neck=dict(type="CPFPN", in_channels=[1024, 2048], out_channels=256, num_outs=2),
    pts_voxel_layer=dict(
        voxel_size=_voxel_size,
        point_cloud_range=_base_._point_cloud_range,
        max_num_points=10,
        max_voxels=(120000, 160000),
    ),
    pts_voxel_encoder=dict(type="HardSimpleVFE", num_features=5),
    pts_middle_encoder=dict(
        type="SparseEncoder",
        in_channels=5,
        sparse_shape=[_grid_size[2] + 1, _grid_size[1], _grid_size[0]],
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
    pts_bbox_head=dict(
        type="CmtHead",
        in_channels=512,
        hidden_dim=256,
        num_query=900,
        depth_num=64,
        downsample_scale=8,
        scalar=10,
        noise_scale=1.0,
        noise_trans=0.0,
        dn_weight=1.0,
        split=0.75,
        tasks=[
            dict(
                num_class=10,
                class_names=[
                    "car",
                    "truck",
                    "construction_vehicle",
                    "bus",
                    "trailer",
                    "barrier",
                    "motorcycle",
                    "bicycle",
                    "pedestrian",
                    "traffic_cone",
                ],
            )
        ],
        bbox_coder=dict(
            type="MultiTaskBBoxCoder",
            pc_range=_base_._point_cloud_range,
            post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
            voxel_size=_voxel_size,
            max_num=300,
            num_classes=10,
        ),
        common_heads=dict(center=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
        separate_head=dict(type="SeparateTaskHead", init_bias=-2.19, final_kernel=1),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2, alpha=0.25, reduction="mean", loss_weight=2.0),
        loss_bbox=dict(type="L1Loss", reduction="mean", loss_weight=0.25),
        transformer=dict(
            type="CmtTransformer",
            decoder=dict(
                type="PETRTransformerDecoder",
                num_layers=6,
                transformerlayers=dict(
                    type="PETRTransformerDecoderLayer",
                    attn_cfgs=[
                        dict(type="MultiheadAttention", embed_dims=256, num_heads=8, dropout=0.1),
                        dict(type="PETRMultiheadFlashAttention", embed_dims=256, num_heads=8, dropout=0.1),
                    ],
                    ffn_cfgs=dict(type="FFN", embed_dims=256, feedforward_channels=1024),
                ),
            ),
        ),
    ),
    train_cfg=dict(
        pts=dict(
            grid_size=_grid_size,
            code_weights=[2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2],
            assigner=dict(
                type="HungarianAssigner3D",
                cls_cost=dict(type="FocalLossCost", weight=2.0),
                reg_cost=dict(type="BBox3DL1Cost", weight=0.25),
                iou_cost=dict(type="IoUCost", weight=0.0),
                pc_range=_base_._point_cloud_range,
                code_weights=[2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2],
            ),
        )
    ),
    test_cfg=dict(pts=dict(grid_size=_grid_size)),
)
