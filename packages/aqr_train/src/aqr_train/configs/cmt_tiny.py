"""The CMT baseline in small, from random weights.

    python -m aqr_train cmt_tiny --work-dir work_dirs/cmt_tiny --cfg-options dataroot=DATA

Hardware: two CPU cores. Result: not yet run to the end.
"""

_base_ = [
    "_base_/models/cmt_tiny.py",
    "_base_/schedules/cosine_tiny.py",
    "_base_/default_runtime.py",
]

train = dict(max_steps=2400, grad_clip=10.0, log_every=20, val_every=800, save_every=800)
