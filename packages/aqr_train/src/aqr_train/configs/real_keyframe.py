"""AQR v3 overfits one real nuScenes keyframe: six 1600x900 images, one LiDAR sweep, 69 annotated boxes.

    python -m aqr_train real_keyframe --work-dir work_dirs/real_keyframe

A check that real data goes in right and comes out right, not a benchmark: it trains and is scored on the same frame.
`docs/data.md` has the twelve-keyframe version of the same command. Hardware: two CPU cores. Result: see there.
"""

_base_ = "cmt_aqr_tiny_scratch.py"

_point_cloud_range = [-51.2, -51.2, -5.0, 51.2, 51.2, 3.0]
_voxel_size = [0.2, 0.2, 0.2]
_load = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps", sweeps_num=2, test_mode=True),
    dict(type="LoadMultiViewImageFromFiles"),
]
_finish = [
    dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range),
    dict(type="ResizeCropFlipImage", data_aug_conf=dict(final_dim=(160, 448)), training=False),
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage", size_divisor=32),
]

dataroot = "../shared/data/mmdet3d/demo/data/nuscenes"
data = dict(
    _delete_=True,
    batch_size=1,
    num_workers=1,
    train=dict(
        type="NuScenesDataset",
        infos="n015-2018-07-24-11-22-45+0800.pkl",
        pipeline=[
            *_load,
            dict(type="LoadAnnotations3D", keep="valid", zero_unknown_velocity=True),
            dict(type="ObjectRangeFilter", point_cloud_range=_point_cloud_range),
            *_finish,
        ],
    ),
    val=dict(
        type="NuScenesDataset",
        infos="n015-2018-07-24-11-22-45+0800.pkl",
        pipeline=[*_load, *_finish],
    ),
)
model = dict(
    pts_voxel_layer=dict(voxel_size=_voxel_size, point_cloud_range=_point_cloud_range),
    pts_bbox_head=dict(
        num_query=200,
        bbox_coder=dict(
            pc_range=_point_cloud_range,
            voxel_size=_voxel_size,
            post_center_range=[-56.0, -56.0, -10.0, 56.0, 56.0, 10.0],
            max_num=300,
        ),
        aqr_config=dict(bev_feature_shape=(64, 64), pers_feature_shape=(6, 10, 28)),
    ),
)
schedule = dict(warmup_steps=50)
train = dict(max_steps=600, log_every=20, val_every=200, save_every=0)
