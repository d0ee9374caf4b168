"""AQR v2 on the strongest CMT: v1 with a share of the features left as they are.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_v2_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/cmt_aqr_v2_vov --cfg-options load_from=cmt_vov.pth

Hardware: 8 GPUs of 80 GB, batch 16. Result: not yet run.
"""

_base_ = "cmt_aqr_v1_voxel0075_vov_1600x640_cbgs.py"

model = dict(pts_bbox_head=dict(modulator_config=dict(residual_connection=True)))
