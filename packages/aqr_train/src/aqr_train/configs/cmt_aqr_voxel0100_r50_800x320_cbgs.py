"""AQR v3 on the CMT fusion baseline: fine-tuning with frozen backbones.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_aqr_r50 --cfg-options load_from=cmt_r50.pth

Hardware: 8 GPUs. Result: not yet run.
"""

_base_ = "cmt_voxel0100_r50_800x320_cbgs.py"

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(
            type="AQRWeightGenerator",
            embed_dims=256,
            num_heads=4,
            window_sizes=[8, 5],  # [camera, lidar]
            bev_feature_shape=(128, 128),
            pers_feature_shape=(6, 20, 50),
        ),
        attention_bias_config=dict(type="AttentionBiasGenerator", window_size=8),
    )
)
optimizer = dict(
    param_groups={
        "_delete_": True,
        # `pts_voxel_encoder` averages points and has no parameter to freeze.
        "img_backbone.*": dict(frozen=True),
        "pts_middle_encoder.*": dict(frozen=True),
        "pts_backbone.*": dict(frozen=True),
        "img_neck.*": dict(lr_mult=0.05, norm_eval=True),
        "pts_neck.*": dict(lr_mult=0.05, norm_eval=True),
        "pts_bbox_head.transformer.*": dict(lr_mult=0.5),
        "pts_bbox_head.bev_embedding.*": dict(lr_mult=0.5),
        "pts_bbox_head.rv_embedding.*": dict(lr_mult=0.5),
        "pts_bbox_head.shared_conv.*": dict(lr_mult=0.5),
        "pts_bbox_head.reference_points.*": dict(lr_mult=0.3),
        "pts_bbox_head.task_heads.*": dict(lr_mult=0.8),
        "pts_bbox_head.aqr_weight_generator.*": dict(lr_mult=1.0),
        "pts_bbox_head.attention_bias_generator.bias_scale": dict(lr_mult=0.5),
    },
)
