"""Groups of fine-tuning with frozen backbones, as factors of the rate: those of CMT's parts, then those of AQR's."""

_finetuning = {
    # `pts_voxel_encoder` averages points and has no parameter to freeze.
    "img_backbone.*": dict(frozen=True),
    "pts_middle_encoder.*": dict(frozen=True),
    "pts_backbone.*": dict(frozen=True),
    "img_neck.*": dict(lr_mult=0.05, norm_eval=True),
    "pts_neck.*": dict(lr_mult=0.05, norm_eval=True),
    "pts_bbox_head.transformer.*": dict(lr_mult=0.5),
    "pts_bbox_head.shared_conv.*": dict(lr_mult=0.5),
    "pts_bbox_head.reference_points.*": dict(lr_mult=0.3),
    "pts_bbox_head.task_heads.*": dict(lr_mult=0.8),
}
_generator_group = {"pts_bbox_head.aqr_weight_generator.*": dict(lr_mult=1.0)}
_scale_group = {"pts_bbox_head.attention_bias_generator.bias_scale": dict(lr_mult=0.5)}
