"""CMT on LiDAR alone, voxels of 0.075 m.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_lidar_voxel0075_cbgs \
        --work-dir work_dirs/cmt_lidar

Hardware: 8 GPUs, batch 16. Result: not run here; upstream reports mAP 62.1, NDS 68.6.
"""

_base_ = [
    "_base_/models/cmt_lidar_voxel0075.py",
    "_base_/schedules/cyclic_cmt.py",
    "_base_/default_runtime.py",
]

optimizer = dict(param_groups=dict(_delete_=True))  # no image branch
schedule = dict(target_ratio=(6.0, 1e-4))
train = dict(epochs=20)
