"""nuScenes with ten sweeps and 800x320 images, augmented as CMT.

Not in this release: class-balanced resampling, pasted objects and masked modalities; upstream trains with all three.
"""

_point_cloud_range = [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
_image = dict(final_dim=(320, 800), resize_lim=(0.47, 0.625), rand_flip=True)
_finish = [
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage", size_divisor=32),
]

dataroot = "data/nuscenes"
data = dict(
    batch_size=4,
    num_workers=4,
    train=dict(
        type="NuScenesDataset",
        infos="infos_train.jsonl",
        pipeline=[
            dict(type="LoadPointsFromFile"),
            dict(type="LoadPointsFromMultiSweeps", sweeps_num=10),
            dict(type="LoadMultiViewImageFromFiles"),
            dict(type="LoadAnnotations3D", zero_unknown_velocity=True),
            dict(
                type="GlobalRotScaleTransAll",
                rot_range=[-0.785, 0.785],
                scale_ratio_range=[0.9, 1.1],
                translation_std=[0.5, 0.5, 0.5],
            ),
            dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
            dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range),
            dict(type="ObjectRangeFilter", point_cloud_range=_point_cloud_range),
            dict(type="PointShuffle"),
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=True),
            *_finish,
        ],
    ),
    val=dict(
        type="NuScenesDataset",
        infos="infos_val.jsonl",
        pipeline=[
            dict(type="LoadPointsFromFile"),
            dict(type="LoadPointsFromMultiSweeps", sweeps_num=10, test_mode=True),
            dict(type="LoadMultiViewImageFromFiles"),
            dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range),
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=False),
            *_finish,
        ],
    ),
)
