"""The CMT fusion baseline, ResNet-50 at 800x320, for training from scratch: cells are coded where they lie.

    accelerate launch --multi_gpu --num_processes 8 -m aqr_train cmt_voxel0100_r50_800x320_cbgs_metric \
        --work-dir work_dirs/cmt_r50_metric --cfg-options load_from=nuim_r50.pth

The 1024 cells of 0.1 m fill a range of 102.4 m. Released CMT weights do not fit.
Hardware: 8 GPUs, batch 32. Result: not run here; upstream has no such model.
"""

_base_ = "cmt_voxel0100_r50_800x320_cbgs.py"

_point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]

# The filters of points and objects follow the range.
data = dict(
    train=dict(
        pipeline=[
            dict(step, point_cloud_range=_point_cloud_range) if "point_cloud_range" in step else step
            for step in _base_.data.train.pipeline
        ]
    )
)
model = dict(
    pts_voxel_layer=dict(point_cloud_range=_point_cloud_range),
    pts_bbox_head=dict(
        bbox_coder=dict(
            pc_range=_point_cloud_range,
            post_center_range=[-58.4, -58.4, -10.0, 58.4, 58.4, 10.0],  # 7.2 m beyond the range, as upstream
        ),
    ),
)
