"""AQR v1 on the CMT fusion baseline: features times weight maps; kept as an ablation.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_v1_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_aqr_v1_r50 --cfg-options load_from=cmt_r50.pth

Hardware: 8 GPUs, batch 32. Result: not yet run.
"""

_base_ = ["cmt_voxel0100_r50_800x320_cbgs.py", "_base_/aqr/v1.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        renderer_config=_base_._renderer,
        modulator_config=_base_._modulator,
    )
)
optimizer = _base_._optimizer
schedule = _base_._schedule
