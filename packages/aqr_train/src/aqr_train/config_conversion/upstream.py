"""What CMT, mmdet3d 1.0.0rc and mmdet 2 do where a config is silent, and which of their arguments say nothing here.

Facts of junjie18/CMT at d3b1d78, mmdet3d 1.0.0rc5, mmdet 2.24 and mmcv 1.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_WEIGHTS = "weights are given by load_from"
_MEMORY = "upstream's default; changes memory, not results"
_DEFAULT = "upstream's default"


@dataclass(frozen=True)
class PartRules:
    """About one `type`, beyond the arguments that our class of that name takes.

    Attributes:
        silent: argument -> (upstream's default, reason), where ours is another or there is none.
        fixed: argument -> (the one value that we have, reason).
        dead: argument -> why it says nothing.
    """

    silent: dict[str, tuple[Any, str]] = field(default_factory=dict)
    fixed: dict[str, tuple[Any, str]] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)


_CODE_WEIGHTS = ([1.0] * 10, _DEFAULT)
_ATTENTION = PartRules(fixed={"batch_first": (False, "a layout inside upstream")})
_HEAD = PartRules(
    silent={
        "hidden_dim": (128, _DEFAULT),
        "loss_cls": (dict(type="FocalLoss", use_sigmoid=True, gamma=2, alpha=0.25, loss_weight=1.0), _DEFAULT),
    },
    dead={"loss_heatmap": "upstream builds it and never uses it", "norm_bbox": "unused upstream"},
)

RULES: dict[str, PartRules] = {
    "CmtDetector": PartRules(
        fixed={
            name: (None, "CMT has no such part")
            for name in ("pts_fusion_layer", "pts_rpn_head", "img_rpn_head", "img_roi_head", "img_bbox_head")
        }
        | {"pretrained": (None, _WEIGHTS), "init_cfg": (None, _WEIGHTS)},
    ),
    "ResNet": PartRules(
        silent={"out_indices": ((0, 1, 2, 3), _DEFAULT)},
        fixed={
            "pretrained": (None, _WEIGHTS),
            "init_cfg": (None, _WEIGHTS),
            "stem_channels": (64, "as many as ours has"),
            "strides": ((1, 2, 2, 2), "as ours has them"),
            "dilations": ((1, 1, 1, 1), "as ours has them"),
            "deep_stem": (False, "ours has the plain stem"),
            "avg_down": (False, "ours has none"),
            "conv_cfg": (None, "ours has plain convolutions"),
            "dcn": (None, "ours has plain convolutions"),
            "stage_with_dcn": ((False, False, False, False), "ours has plain convolutions"),
            "plugins": (None, "ours has none"),
        },
    ),
    "VoVNet": PartRules(fixed={"pretrained": (None, _WEIGHTS), "init_cfg": (None, _WEIGHTS)}),
    "CPFPN": PartRules(
        fixed={
            "start_level": (0, "ours reads every level"),
            "end_level": (-1, "ours reads every level"),
            "add_extra_convs": (False, "ours has none"),
            "relu_before_extra_convs": (False, "ours has none"),
            "no_norm_on_lateral": (False, "ours has no norms"),
            "conv_cfg": (None, "ours has plain convolutions"),
            "norm_cfg": (None, "ours has no norms"),
            "act_cfg": (None, "ours has no activations"),
            "upsample_cfg": (dict(mode="nearest"), "ours takes the nearest"),
        }
    ),
    "SparseEncoder": PartRules(silent={"block_type": ("conv_module", _DEFAULT)}),
    "SECOND": PartRules(fixed={"pretrained": (None, _WEIGHTS), "init_cfg": (None, _WEIGHTS)}),
    "SECONDFPN": PartRules(
        fixed={
            "conv_cfg": (dict(type="Conv2d", bias=False), "ours has no bias there"),
            "init_cfg": (None, _WEIGHTS),
        }
    ),
    "HardSimpleVFE": PartRules(),
    "CmtHead": _HEAD,
    "CmtLidarHead": _HEAD,
    "CmtImageHead": _HEAD,
    "MultiTaskBBoxCoder": PartRules(silent={"max_num": (100, _DEFAULT)}),
    "HungarianAssigner3D": PartRules(silent={"code_weights": _CODE_WEIGHTS}),
    "SeparateTaskHead": PartRules(silent={"final_kernel": (1, _DEFAULT)}),
    "PETRTransformerDecoder": PartRules(
        fixed={"post_norm_cfg": (dict(type="LN"), "ours normalises so"), "init_cfg": (None, _WEIGHTS)}
    ),
    "PETRTransformerDecoderLayer": PartRules(
        silent={"with_cp": (True, _MEMORY)},
        fixed={
            "ffn_dropout": (0.0, "ffn_cfgs decides"),
            "ffn_num_fcs": (2, "ours has two"),
            "act_cfg": (dict(type="ReLU", inplace=True), "ours has this one"),
            "norm_cfg": (dict(type="LN"), "ours normalises so"),
            "batch_first": (False, "a layout inside upstream"),
        },
    ),
    "MultiheadAttention": _ATTENTION,
    "PETRMultiheadAttention": _ATTENTION,
    "PETRMultiheadFlashAttention": PartRules(fixed={"batch_first": (True, "a layout inside upstream")}),
    "FFN": PartRules(
        silent={"embed_dims": (256, _DEFAULT), "feedforward_channels": (1024, _DEFAULT)},
        fixed={
            "act_cfg": (dict(type="ReLU", inplace=True), "ours has this one"),
            "dropout_layer": (None, "ours has none"),
            "add_identity": (True, "ours adds it"),
        },
    ),
}

# Below train_cfg.pts and test_cfg.pts: what CMT inherited from CenterPoint's configs and never reads.
DEAD_TRAIN = (
    "dataset",
    "pos_weight",
    "gaussian_overlap",
    "min_radius",
    "max_objs",
    "dense_reg",
    "voxel_size",
    "out_size_factor",
    "point_cloud_range",
)
DEAD_TEST = (
    "dataset",
    "out_size_factor",
    "pc_range",
    "voxel_size",
    "nms_type",
    "nms_thr",
    "use_rotate_nms",
    "max_num",
    "pre_max_size",
    "post_max_size",
    "min_radius",
    "score_threshold",
    "post_center_limit_range",
    "max_per_img",
)
