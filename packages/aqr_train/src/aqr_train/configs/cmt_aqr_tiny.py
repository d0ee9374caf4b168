"""AQR v3 in small, the way it is used: from CMT weights (shipped), backbones frozen; `make demo`.

    python -m aqr_train cmt_aqr_tiny --work-dir work_dirs/cmt_aqr_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores, 1.5 minutes. Result: mAP 0.854, NDS 0.738 on the held-out scenes of the demo (the baseline:
0.854, 0.736).
"""

_base_ = "_base_/aqr/finetune_tiny.py"

model = dict(pts_bbox_head=dict(attention_bias_config=_base_._bias))
optimizer = dict(param_groups=_base_._scale_group)
