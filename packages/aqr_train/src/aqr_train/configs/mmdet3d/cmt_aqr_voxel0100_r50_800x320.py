"""AQR v3 on nuScenes under mmdet3d's runner: model, pipeline and rates of `cmt_aqr_voxel0100_r50_800x320_cbgs`.

    bash $MIM/tools/dist_train.sh $CONFIGS/cmt_aqr_voxel0100_r50_800x320.py 8 \
        --cfg-options model.init_cfg.checkpoint=cmt_r50.pth

Every step of the pipeline is ours, the loading included, so a sample is what our trainer would make of it. Not carried
over: batch statistics of the necks go on moving. Hardware: 8 GPUs, batch 32. Result: not yet run.
"""

_base_ = ["../_base_/models/cmt_voxel0100_r50.py", "../_base_/aqr/v3.py", "nuscenes.py"]

_rate = _base_._optimizer.lr
_groups = {name.removesuffix(".*"): one for name, one in _base_._optimizer.param_groups.items() if name != "_delete_"}
_rise, _fall = 8, 12  # epochs

model = dict(
    init_cfg=dict(type="Pretrained", checkpoint="cmt_r50.pth"),
    frozen=[name for name, one in _groups.items() if one.get("frozen")],
    pts_bbox_head=dict(
        aqr_config=dict(_base_._generator, **_base_._feature_maps),
        attention_bias_config=_base_._bias,
    ),
)

_val_pipeline = [dict(type="AqrTransforms", transforms=_base_.data.val.pipeline), dict(type="PackAqrInputs")]

train_dataloader = dict(
    batch_size=_base_.data.batch_size,
    num_workers=_base_.data.num_workers,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CBGSDataset",
        dataset=dict(
            _base_._train_dataset,
            pipeline=[
                dict(type="AqrTransforms", transforms=_base_.data.train.pipeline, data_root=_base_.data_root),
                dict(type="PackAqrInputs"),
            ],
        ),
    ),
)
val_dataloader = dict(dataset=dict(pipeline=_val_pipeline))
test_dataloader = dict(_base_.val_dataloader, dataset=dict(_base_.val_dataloader.dataset, pipeline=_val_pipeline))
test_evaluator = _base_.val_evaluator

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=_rise + _fall, val_interval=_rise + _fall)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=_rate, weight_decay=_base_._optimizer.weight_decay),
    clip_grad=dict(max_norm=35.0),
    paramwise_cfg=dict(
        custom_keys={name: dict(lr_mult=one["lr_mult"]) for name, one in _groups.items() if "lr_mult" in one}
    ),
)
# A ratio, not an `eta_min`: that would be the same rate for every group and undo `lr_mult`.
param_scheduler = [
    dict(type=kind, eta_min_ratio=ratio, T_max=end - begin, begin=begin, end=end, convert_to_iter_based=True)
    for kind, begin, end, ratio in (
        ("CosineAnnealingLR", 0, _rise, _base_._schedule.target_ratio[0]),
        ("CosineAnnealingLR", _rise, _rise + _fall, _base_._schedule.target_ratio[1]),
        ("CosineAnnealingMomentum", 0, _rise, 0.85 / 0.95),
        ("CosineAnnealingMomentum", _rise, _rise + _fall, 1.0),
    )
]
default_hooks = dict(checkpoint=dict(interval=1))
