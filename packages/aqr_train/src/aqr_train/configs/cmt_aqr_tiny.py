"""AQR v3 in small, the way it is used: from CMT weights (shipped), backbones frozen; `make demo`.

    python -m aqr_train cmt_aqr_tiny --work-dir work_dirs/cmt_aqr_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores, 1.5 minutes. Result: mAP 0.854, NDS 0.738 on the held-out scenes of the demo (the baseline:
0.854, 0.736).
"""

_base_ = "cmt_aqr_tiny_scratch.py"

load_from = "cmt_tiny"
optimizer = dict(
    lr=2e-4,
    param_groups={
        # `pts_voxel_encoder` averages points and has no parameter to freeze.
        "img_backbone.*": dict(frozen=True),
        "pts_middle_encoder.*": dict(frozen=True),
        "pts_backbone.*": dict(frozen=True),
        "img_neck.*": dict(lr_mult=0.05, norm_eval=True),
        "pts_neck.*": dict(lr_mult=0.05, norm_eval=True),
        "pts_bbox_head.transformer.*": dict(lr_mult=0.5),
        "pts_bbox_head.shared_conv.*": dict(lr_mult=0.5),
        "pts_bbox_head.reference_points.*": dict(lr_mult=0.3),
        "pts_bbox_head.task_heads.*": dict(lr_mult=0.8),
        "pts_bbox_head.aqr_weight_generator.*": dict(lr_mult=1.0),
        "pts_bbox_head.attention_bias_generator.bias_scale": dict(lr_mult=0.5),
    },
)
schedule = dict(warmup_steps=20)
train = dict(max_steps=400, val_every=200)
