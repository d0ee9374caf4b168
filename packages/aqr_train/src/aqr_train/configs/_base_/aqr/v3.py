"""AQR v3 at full size: its blocks, and the recipe of fine-tuning. A child puts them where they belong.

The peak of the cycle, 8.4e-4, is that of the 800x320 baseline and within 5 % of the 1600x640 one.
"""

_base_ = "frozen_backbones.py"

_generator = dict(type="AQRWeightGenerator", window_sizes=[8, 5])  # [camera, lidar]
_bias = dict(type="AttentionBiasGenerator", window_size=8, bias_scale=2.5)
_optimizer = dict(
    lr=1.4e-4,
    weight_decay=0.01,
    param_groups={
        "_delete_": True,
        **_base_._finetuning,
        "pts_bbox_head.bev_embedding.*": dict(lr_mult=0.5),
        "pts_bbox_head.rv_embedding.*": dict(lr_mult=0.5),
        **_base_._generator_group,
        **_base_._scale_group,
    },
)
_schedule = dict(target_ratio=(6.0, 1e-4))
