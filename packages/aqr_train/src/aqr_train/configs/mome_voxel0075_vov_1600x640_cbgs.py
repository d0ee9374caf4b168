"""MoME's second stage: a router over the three experts of its first stage, everything else frozen.

    aqr test mome_voxel0075_vov_1600x640_cbgs mome_voxel0075_vov_1600x640_cbgs.pth --out work_dirs/mome
    accelerate launch --multi_gpu --num_processes 4 -m aqr_train mome_voxel0075_vov_1600x640_cbgs \
        --work-dir work_dirs/mome --cfg-options load_from=moad_voxel0075_vov_1600x640_cbgs.pth

Weights of the second stage load whole; of a first-stage file the router starts new and sends every query to the fused
expert. Upstream's windows are kept. Frozen parts stay in evaluation mode, where upstream lets dropout act and
normalisation statistics drift. No objects are pasted; sensors fail in half of the samples.

Hardware: 4 GPUs, batch 8; no decoding in training. Result: not run here; upstream reports NDS 73.6 on clean data.
"""

_base_ = "moad_voxel0075_vov_1600x640_cbgs.py"

model = dict(
    pts_bbox_head=dict(
        type="RouterHead",
        transformer=dict(type="RouterTransformer", window_sizes=[15, 5], mome_compatible=True),  # [camera, lidar]
    )
)
data = dict(train=dict(pipeline=[step for step in _base_.data.train.pipeline if step.type != "UnifiedObjectSample"]))
optimizer = dict(
    param_groups=dict(
        _delete_=True,
        **{
            "*": dict(frozen=True),
            "pts_bbox_head.transformer.encoder.*": dict(),
            "pts_bbox_head.transformer.selected_cls.*": dict(),
        },
    )
)
schedule = dict(_delete_=True, type="cosine", warmup_steps=1000, min_ratio=1e-3)
train = dict(epochs=2, find_unused_parameters=False)
