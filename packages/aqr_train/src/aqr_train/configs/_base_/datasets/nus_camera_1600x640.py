"""nuScenes with six 1600x640 images and no points: CMT's milder augmentation, and nothing pasted."""

_base_ = "nus_fusion_1600x640.py"

data = dict(
    train=dict(
        pipeline=[
            *_base_._load_images,
            *_base_._load_boxes,
            dict(type="GlobalRotScaleTransImage", rot_range=[-0.3925, 0.3925], scale_ratio_range=[0.95, 1.05]),
            *_base_._filter_boxes,
            dict(type="ResizeCropFlipImage", data_aug_conf=_base_._image, training=True),
            *_base_._finish_images,
        ]
    ),
    val=dict(
        pipeline=[
            *_base_._load_images,
            dict(type="ResizeCropFlipImage", data_aug_conf=_base_._image, training=False),
            *_base_._finish_images,
        ]
    ),
)
