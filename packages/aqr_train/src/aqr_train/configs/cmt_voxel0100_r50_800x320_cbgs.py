"""The CMT fusion baseline, ResNet-50 at 800x320.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_r50 --cfg-options load_from=nuim_r50.pth

Hardware: 8 GPUs, batch 32 (scale the rate with the batch). Result: not yet run; upstream reports mAP 67.9, NDS 70.8
with class-balanced resampling and pasted objects, which this release does not have.
"""

_base_ = [
    "_base_/models/cmt_voxel0100_r50.py",
    "_base_/schedules/cyclic_cmt.py",
    "_base_/default_runtime.py",
]

train = dict(epochs=20)
