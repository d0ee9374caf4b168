"""The CMT fusion baseline, ResNet-50 at 800x320, in upstream's geometry: released weights fit.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_r50 --cfg-options load_from=nuim_r50.pth

Hardware: 8 GPUs, batch 32 (scale the rate with the batch). Result: not run here; upstream reports mAP 67.9, NDS 70.8.
"""

_base_ = [
    "_base_/models/cmt_voxel0100_r50.py",
    "_base_/schedules/cyclic_cmt.py",
    "_base_/default_runtime.py",
]

optimizer = dict(lr=1.4e-4)
schedule = dict(target_ratio=(6.0, 1e-4))
train = dict(epochs=20)
