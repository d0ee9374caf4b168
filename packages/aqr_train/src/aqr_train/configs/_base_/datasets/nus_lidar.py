"""nuScenes with ten sweeps and no images; objects are pasted into the points until the last five of twenty epochs.

Without an object database: `--cfg-options data.train.pipeline.3.until_epoch=0`.
"""

_base_ = "nus_fusion_800x320.py"

data = dict(
    batch_size=2,
    train=dict(
        pipeline=[
            *_base_._load_points,
            *_base_._load_boxes,
            dict(
                type="ObjectSample",
                db_sampler=_base_._object_database,
                zero_unknown_velocity=True,
                until_epoch=15,
            ),
            *_base_._move_scene,
            *_base_._filter_points,
            *_base_._filter_boxes,
            dict(type="PointShuffle"),
        ]
    ),
    val=dict(pipeline=_base_._load_points),
)
