"""MoME's router in small, both of its stages in one run, from CMT weights (shipped), backbones frozen.

    python -m aqr_train cmt_router_tiny --work-dir work_dirs/cmt_router_tiny --cfg-options dataroot=DATA

Every sample is decoded by the three experts; in half of them a sensor fails, which the router learns to see. Without
type vectors and camera codes the fused expert starts as the CMT that the weights were trained for.

Hardware: two CPU cores, 4 minutes. Result: see docs/aqr.md.
"""

_base_ = ["cmt_tiny.py", "_base_/aqr/frozen_backbones.py"]

model = dict(
    pts_bbox_head=dict(
        type="RouterHead",
        transformer=dict(
            type="RouterTransformer",
            use_type_embed=False,
            train_experts=True,
            window_sizes=[4, 5],  # [camera, lidar]
            encoder=dict(num_heads=4, feedforward_channels=256, dropout=0.0),
        ),
    )
)
data = dict(train=dict(pipeline=[dict(type="ModalMask3D", mode="train"), *_base_.data.train.pipeline]))
load_from = "cmt_tiny"
optimizer = dict(
    lr=2e-4,
    param_groups={
        **_base_._finetuning,
        "pts_bbox_head.transformer.encoder.*": dict(lr_mult=5.0),
        "pts_bbox_head.transformer.selected_cls.*": dict(lr_mult=5.0),
    },
)
schedule = dict(warmup_steps=20)
train = dict(max_steps=400, val_every=200)
