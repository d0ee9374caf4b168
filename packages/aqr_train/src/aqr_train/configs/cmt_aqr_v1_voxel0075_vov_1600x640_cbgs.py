"""AQR v1 on the strongest CMT: features times weight maps; kept as an ablation.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_v1_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/cmt_aqr_v1_vov --cfg-options load_from=cmt_vov.pth

Hardware: 8 GPUs of 80 GB, batch 16. Result: not yet run.
"""

_base_ = ["cmt_voxel0075_vov_1600x640_cbgs.py", "_base_/aqr/v1.py"]

model = dict(
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        renderer_config=_base_._renderer,
        modulator_config=_base_._modulator,
    )
)
optimizer = _base_._optimizer
schedule = _base_._schedule
