"""AQR v1 in small: features times weight maps, with the weights, groups and budget of `cmt_aqr_tiny`.

    python -m aqr_train cmt_aqr_v1_tiny --work-dir work_dirs/cmt_aqr_v1_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores, 1.5 minutes. Result: that of the ablation is in docs/aqr.md.
"""

_base_ = "_base_/aqr/finetune_tiny.py"

model = dict(pts_bbox_head=dict(renderer_config=_base_._renderer, modulator_config=_base_._modulator))
