"""CMT on cameras alone, VoVNet-99 at 1600x640.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_camera_vov_1600x640_cbgs \
        --work-dir work_dirs/cmt_camera --cfg-options load_from=fcos3d_vovnet_imgbackbone-remapped.pth

Hardware: 8 GPUs, batch 16; with less memory set model.img_backbone.with_cp=True.
Result: not run here; upstream reports mAP 40.6, NDS 46.0.
"""

_base_ = [
    "_base_/models/cmt_camera_vov.py",
    "_base_/schedules/cyclic_cmt.py",
    "_base_/default_runtime.py",
]

train = dict(epochs=20)
