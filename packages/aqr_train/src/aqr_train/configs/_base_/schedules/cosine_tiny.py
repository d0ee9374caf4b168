"""AdamW with warm-up and one cosine, for runs of minutes.

The position MLPs move slowly: `init_cfg` of the tiny head gives them large, finely tuned weights, and at the full rate
the locality of cross-attention is lost within a hundred steps (see docs/baseline.md).
"""

optimizer = dict(
    type="AdamW",
    lr=8e-4,
    weight_decay=0.01,
    param_groups={
        "pts_bbox_head.bev_embedding.*": dict(lr_mult=0.05, decay_mult=0.0),
        "pts_bbox_head.rv_embedding.*": dict(lr_mult=0.05, decay_mult=0.0),
    },
)
schedule = dict(type="cosine", warmup_steps=200, min_ratio=0.02)
