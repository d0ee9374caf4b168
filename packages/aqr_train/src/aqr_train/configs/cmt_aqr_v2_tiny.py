"""AQR v2 in small: v1 with a share of the features left as they are.

    python -m aqr_train cmt_aqr_v2_tiny --work-dir work_dirs/cmt_aqr_v2_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores, 1.5 minutes. Result: that of the ablation is in docs/aqr.md.
"""

_base_ = "cmt_aqr_v1_tiny.py"

model = dict(pts_bbox_head=dict(modulator_config=dict(residual_connection=True)))
