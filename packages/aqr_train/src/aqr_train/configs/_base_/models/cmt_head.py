"""Upstream's head: 900 queries, six decoder layers, matching, losses and box coder.

A child gives the range and the voxel size, and adds the branches that the head reads.
"""

_code_weights = [2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2]

model = dict(
    type="CmtDetector",
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
            post_center_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
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
            code_weights=_code_weights,
            assigner=dict(
                type="HungarianAssigner3D",
                cls_cost=dict(type="FocalLossCost", weight=2.0),
                reg_cost=dict(type="BBox3DL1Cost", weight=0.25),
                iou_cost=dict(type="IoUCost", weight=0.0),
                code_weights=_code_weights,
            ),
        )
    ),
)
