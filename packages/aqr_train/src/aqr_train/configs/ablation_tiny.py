"""The recipe of the ablation, and its baseline: the shipped weights fine-tuned with failing sensors; `make ablation`.

    python -m aqr_train ablation_tiny --work-dir work_dirs/ablation_tiny --cfg-options dataroot=DATA

`aqr_train.ablation` gives the same recipe to every variant. Images or points of half of the samples are blank: without
that no model could learn to do without a sensor.

Hardware: two CPU cores, 2 minutes an arm. Result: docs/aqr.md; the baseline arm mAP 0.828, NDS 0.718.
"""

_base_ = ["cmt_tiny.py", "_base_/aqr/frozen_backbones.py"]

data = dict(train=dict(pipeline=[dict(type="ModalMask3D", mode="train"), *_base_.data.train.pipeline]))
load_from = "cmt_tiny"
optimizer = dict(lr=2e-4, param_groups=_base_._finetuning)  # groups of parts that a variant adds are the variant's own
schedule = dict(warmup_steps=20)
train = dict(max_steps=400, val_every=None, save_every=0)
