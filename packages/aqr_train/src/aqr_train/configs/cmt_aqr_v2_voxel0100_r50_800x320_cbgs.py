"""AQR v2 on the CMT fusion baseline: v1 with a share of the features left as they are.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_aqr_v2_voxel0100_r50_800x320_cbgs \
        --work-dir work_dirs/cmt_aqr_v2_r50 --cfg-options load_from=cmt_r50.pth

Hardware: 8 GPUs, batch 32. Result: not yet run.
"""

_base_ = "cmt_aqr_v1_voxel0100_r50_800x320_cbgs.py"

model = dict(pts_bbox_head=dict(modulator_config=dict(residual_connection=True)))
