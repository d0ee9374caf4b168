"""The CMT baseline in small, from random weights.

    python -m aqr_train cmt_tiny --work-dir work_dirs/cmt_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores, 14 minutes. Result: mAP 0.848, NDS 0.716 on 480 held-out keyframes (docs/baseline.md).
"""

_base_ = [
    "_base_/models/cmt_tiny.py",
    "_base_/schedules/cosine_tiny.py",
    "_base_/default_runtime.py",
]

train = dict(max_steps=2400, grad_clip=10.0, log_every=20, val_every=800, save_every=800)
