"""nuScenes as in `nus_fusion_800x320`, with images of twice the size and half the batch."""

_base_ = "nus_fusion_800x320.py"

_image = dict(final_dim=(640, 1600), resize_lim=(0.94, 1.25), rand_flip=True)

data = dict(
    batch_size=2,
    train=dict(
        pipeline=[
            *_base_._train_until_images,
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=True),
            *_base_._finish_images,
        ]
    ),
    val=dict(
        pipeline=[
            *_base_._load_points,
            *_base_._load_images,
            dict(type="ResizeCropFlipImage", data_aug_conf=_image, training=False),
            *_base_._finish_images,
        ]
    ),
)
