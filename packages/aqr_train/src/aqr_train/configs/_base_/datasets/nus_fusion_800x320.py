"""nuScenes with ten sweeps and six 800x320 images, resampled and augmented as CMT.

The other full-size datasets are built of the parts named here; a part is a run of steps, in upstream's order. Only
the failing sensors are drawn before the loading instead of behind the pasting: the same input in less time.

Training pastes objects of a database into points and images, until the last five of twenty epochs. Make it once:

    aqr prepare --dataroot data/nuscenes --version v1.0-trainval --gt-database

or train without: `--cfg-options data.train.pipeline.5.until_epoch=0`.
"""

_point_cloud_range = [-54.0, -54.0, -5.0, 54.0, 54.0, 3.0]
_classes = [
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
]
_image = dict(final_dim=(320, 800), resize_lim=(0.47, 0.625), rand_flip=True)

_load_points = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps", sweeps_num=10),
]
_load_images = [dict(type="LoadMultiViewImageFromFiles")]
_load_boxes = [dict(type="LoadAnnotations3D", zero_unknown_velocity=True)]
_object_database = dict(
    database="gt_database_{split}",  # that of the infos
    rate=1.0,
    # Objects of a class in a keyframe, its own included, up to which more are pasted.
    sample_groups=dict(
        car=2,
        truck=3,
        construction_vehicle=7,
        bus=4,
        trailer=6,
        barrier=2,
        motorcycle=6,
        bicycle=6,
        pedestrian=2,
        traffic_cone=2,
    ),
    filter_by_min_points={name: 5 for name in _classes},
    filter_by_difficulty=[-1],
)
_move_scene = [
    dict(
        type="GlobalRotScaleTransAll",
        rot_range=[-0.785, 0.785],
        scale_ratio_range=[0.9, 1.1],
        translation_std=[0.5, 0.5, 0.5],
    ),
    dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=0.5, flip_ratio_bev_vertical=0.5),
]
_filter_points = [dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range)]
_filter_boxes = [
    dict(type="ObjectRangeFilter", point_cloud_range=_point_cloud_range),
    dict(type="ObjectNameFilter", classes=_classes),
]
_finish_images = [
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage", size_divisor=32),
]
_train_until_images = [
    dict(type="ModalMask3D", mode="train"),
    *_load_points,
    *_load_images,
    *_load_boxes,
    dict(
        type="UnifiedObjectSample",
        db_sampler=_object_database,
        sample_2d=True,
        mixup_rate=0.5,
        zero_unknown_velocity=True,
        until_epoch=15,
    ),
    *_move_scene,
    *_filter_points,
    *_filter_boxes,
    dict(type="PointShuffle"),
]

dataroot = "data/nuscenes"
data = dict(
    batch_size=4,
    num_workers=4,
    train=dict(
        type="NuScenesDataset",
        infos="infos_train.jsonl",
        class_balanced=True,
        pipeline=[
            *_train_until_images,
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=True),
            *_finish_images,
        ],
    ),
    val=dict(
        type="NuScenesDataset",
        infos="infos_val.jsonl",
        pipeline=[
            *_load_points,
            *_load_images,
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=False),
            *_finish_images,
        ],
    ),
)
