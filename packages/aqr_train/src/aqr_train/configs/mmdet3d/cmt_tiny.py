"""The CMT baseline in small under mmdet3d's runner: our model, mmdet3d's dataset, loading and metric.

    python $MIM/tools/train.py $CONFIGS/cmt_tiny.py --work-dir work_dirs/mmdet3d_cmt_tiny

Hardware: two CPU cores. Result: not run to the end here; docs/mmdet3d.md says what was.
"""

_base_ = ["../_base_/models/cmt_tiny.py", "../_base_/schedules/cosine_tiny.py", "nuscenes.py"]

_load_sensors = [
    dict(type="LoadPointsFromFile", coord_type="LIDAR", load_dim=5, use_dim=5),
    dict(type="LoadPointsFromMultiSweeps", sweeps_num=2, test_mode=True, load_dim=5, use_dim=5),
    dict(type="LoadMultiViewImageFromFiles", color_type="color", num_views=6),
]
_train_pipeline = [
    *_load_sensors,
    dict(type="LoadAnnotations3D", with_bbox_3d=True, with_label_3d=True),
    dict(type="ObjectNameFilter", classes=_base_._metainfo.classes),
    dict(type="AqrTransforms", transforms=_base_._augment),
    dict(type="PackAqrInputs"),
]
_val_pipeline = [
    *_load_sensors,
    dict(type="AqrTransforms", transforms=_base_._prepare),
    dict(type="PackAqrInputs"),
]

train_dataloader = dict(
    batch_size=_base_.data.batch_size,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(_base_._train_dataset, pipeline=_train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=_val_pipeline))
test_dataloader = dict(_base_.val_dataloader, dataset=dict(_base_.val_dataloader.dataset, pipeline=_val_pipeline))
test_evaluator = _base_.val_evaluator

train_cfg = dict(type="IterBasedTrainLoop", max_iters=2400, val_interval=800)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type=_base_.optimizer.type, lr=_base_.optimizer.lr, weight_decay=_base_.optimizer.weight_decay),
    clip_grad=dict(max_norm=10.0),
    # Globs of ours, parts of names in mmengine.
    paramwise_cfg=dict(
        custom_keys={name.removesuffix(".*"): factors for name, factors in _base_.optimizer.param_groups.items()}
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.005, begin=0, end=_base_.schedule.warmup_steps, by_epoch=False),
    dict(
        type="CosineAnnealingLR",
        begin=_base_.schedule.warmup_steps,
        end=2400,
        eta_min_ratio=_base_.schedule.min_ratio,
        by_epoch=False,
    ),
]
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=800, by_epoch=False),
)
log_processor = dict(by_epoch=False)
