"""AdamW with CMT's cycle of rate and momentum, for a batch of 16; image branches start pretrained and move slowly."""

optimizer = dict(
    type="AdamW",
    lr=1e-4,
    weight_decay=0.01,
    param_groups={
        "img_backbone.*": dict(lr_mult=0.01, decay_mult=5.0),
        "img_neck.*": dict(lr_mult=0.1),
    },
)
schedule = dict(type="cyclic", target_ratio=(8.0, 1e-4), momentum_ratio=(0.85 / 0.95, 1.0), step_ratio_up=0.4)
