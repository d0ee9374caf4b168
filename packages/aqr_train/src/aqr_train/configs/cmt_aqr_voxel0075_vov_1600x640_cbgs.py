"""AQR v3 on the strongest CMT: fine-tuning with frozen backbones.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/cmt_aqr_vov --cfg-options load_from=cmt_vov.pth

Hardware: 8 GPUs of 80 GB, batch 16. Result: not yet run.
"""

_base_ = ["cmt_voxel0075_vov_1600x640_cbgs.py", "_base_/aqr/v3.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        attention_bias_config=_base_._bias,
    )
)
optimizer = _base_._optimizer
schedule = _base_._schedule
