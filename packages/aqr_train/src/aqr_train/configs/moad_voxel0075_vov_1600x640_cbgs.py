"""MoME's detector: weights of its first stage ("MOAD") load whole and predict as its fused expert.

    aqr test moad_voxel0075_vov_1600x640_cbgs moad_voxel0075_vov_1600x640_cbgs.pth --out work_dirs/moad
    accelerate launch --multi_gpu --num_processes 8 -m aqr_train moad_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/moad --cfg-options load_from=moad_voxel0075_vov_1600x640_cbgs.pth

Training here is CMT's, on the fused expert alone; upstream decodes every sample three times (fused, LiDAR, cameras) and
adds the losses up. The second stage, with the router, is `mome_voxel0075_vov_1600x640_cbgs`.

Hardware: 8 GPUs of 80 GB, batch 16. Result: not run here.
"""

_base_ = "cmt_voxel0075_vov_1600x640_cbgs.py"

model = dict(pts_bbox_head=dict(transformer=dict(type="MOADTransformer", use_cam_embed=True)))
schedule = dict(target_ratio=(6.0, 1e-4))
train = dict(find_unused_parameters=True)  # the camera codes scale the values of camera-only samples alone
