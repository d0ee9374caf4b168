"""AQR v3 on the CMT fusion baseline: fine-tuning with frozen backbones.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_aqr_r50 --cfg-options load_from=cmt_r50.pth

Hardware: 8 GPUs, batch 32. Result: not yet run.
"""

_base_ = ["cmt_voxel0100_r50_800x320_cbgs.py", "_base_/aqr/v3.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        attention_bias_config=_base_._bias,
    )
)
optimizer = _base_._optimizer
schedule = _base_._schedule
