"""The strongest CMT, VoVNet-99 at 1600x640 and voxels of 0.075 m.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/cmt_vov --cfg-options load_from=fcos3d_vovnet_imgbackbone-remapped.pth

Hardware: 8 GPUs of 80 GB, batch 16; with less memory set model.img_backbone.with_cp=True.
Result: not run here; upstream reports mAP 70.3, NDS 72.9.
"""

_base_ = [
    "_base_/models/cmt_voxel0075_vov.py",
    "_base_/schedules/cyclic_cmt.py",
    "_base_/default_runtime.py",
]

train = dict(epochs=20)
