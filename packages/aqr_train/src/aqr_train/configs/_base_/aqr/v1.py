"""AQR v1 at full size: its blocks, and the recipe of training. A child puts them where they belong; v2 changes one key.

What the blocks do not say is left to `aqr_preset`. The necks go with the backbones.
"""

_generator = dict(type="AQRWeightGenerator", window_sizes=[8, 5])  # [camera, lidar]
_renderer = dict(type="WeightRenderer")
_modulator = dict(type="FeatureModulator")
_optimizer = dict(
    lr=2e-4,
    weight_decay=0.01,
    param_groups={
        "_delete_": True,
        # `pts_voxel_encoder` averages points and has no parameter.
        "img_backbone.*": dict(lr_mult=0.1),
        "img_neck.*": dict(lr_mult=0.1),
        "pts_middle_encoder.*": dict(lr_mult=0.1),
        "pts_backbone.*": dict(lr_mult=0.1),
        "pts_neck.*": dict(lr_mult=0.1),
        "pts_bbox_head.transformer.*": dict(lr_mult=0.8),
        "pts_bbox_head.task_heads.*": dict(lr_mult=0.8),
        "pts_bbox_head.aqr_weight_generator.*": dict(lr_mult=0.5),
    },
)
_schedule = dict(target_ratio=(6.0, 1e-4))
