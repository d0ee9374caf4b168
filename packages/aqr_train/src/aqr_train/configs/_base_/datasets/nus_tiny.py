"""Synthetic scenes of `aqr synth --preset tiny`: 400x225 images, 32 beams, objects within 32 m."""

_point_cloud_range = [-32.0, -32.0, -5.0, 32.0, 32.0, 3.0]
_image = dict(final_dim=(128, 352), resize_lim=(0.88, 1.0), rand_flip=True)
_load = [
    dict(type="LoadPointsFromFile"),
    dict(type="LoadPointsFromMultiSweeps", sweeps_num=2, test_mode=True),
    dict(type="LoadMultiViewImageFromFiles"),
]
_finish = [
    dict(type="NormalizeMultiviewImage"),
    dict(type="PadMultiViewImage", size_divisor=32),
]
_augment = [
    dict(
        type="GlobalRotScaleTransAll",
        rot_range=[-0.4, 0.4],
        scale_ratio_range=[0.95, 1.05],
        translation_std=[0.3, 0.3, 0.1],
    ),
    # Left and right may be swapped; front and back may not: the scenes are one-way streets.
    dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=0.0, flip_ratio_bev_vertical=0.5),
    dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range),
    dict(type="ObjectRangeFilter", point_cloud_range=_point_cloud_range),
    dict(type="RandomImageGain"),
    dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=True),
    *_finish,
]
_prepare = [
    dict(type="PointsRangeFilter", point_cloud_range=_point_cloud_range),
    dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=False),
    *_finish,
]

dataroot = "demo/data"
data = dict(
    batch_size=2,
    num_workers=2,
    train=dict(
        type="NuScenesDataset",
        infos="infos_train.jsonl",
        pipeline=[*_load, dict(type="LoadAnnotations3D"), *_augment],
    ),
    val=dict(type="NuScenesDataset", infos="infos_val.jsonl", pipeline=[*_load, *_prepare]),
)
