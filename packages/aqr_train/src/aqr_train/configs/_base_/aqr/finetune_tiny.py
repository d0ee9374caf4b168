"""How every tiny AQR config is trained, so that they compare: from the shipped CMT weights, with frozen backbones.

A child adds the blocks of its variant.
"""

_base_ = ["../../cmt_tiny.py", "frozen_backbones.py", "tiny.py"]

model = dict(pts_bbox_head=dict(aqr_config=dict(_base_._generator, **_base_._feature_maps)))
load_from = "cmt_tiny"
optimizer = dict(lr=2e-4, param_groups={**_base_._finetuning, **_base_._generator_group})
schedule = dict(warmup_steps=20)
train = dict(max_steps=400, val_every=200, picture_every=200)
