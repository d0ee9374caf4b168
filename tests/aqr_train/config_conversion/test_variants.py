"""What else lies in configs of the field, each in the official 800x320 one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aqr_core.models import build_detector
from aqr_train.config_conversion import Conversion
from aqr_train.config_conversion.ledger import Outcome

Convert = Callable[..., Conversion]
PIPELINE = "    dict(type='PointShuffle'),"


def differences(conversion: Conversion) -> list[str]:
    return [".".join(map(str, row.path)) for row in conversion.ledger.of(Outcome.DIFFERENCE)]


def pasting(conversion: Conversion) -> dict[str, Any]:
    return next(s for s in conversion.config["data"]["train"]["pipeline"] if s["type"] == "UnifiedObjectSample")


@pytest.mark.parametrize(
    "hook", ["type='Fading', fade_epoch=15", "type='DisableObjectSampleHook', disable_after_epoch=15, priority=40"]
)
def test_a_hook_that_ends_pasting_becomes_until_epoch(convert: Convert, hook: str) -> None:
    conversion = convert(more=f"custom_hooks = [dict({hook})]")
    assert pasting(conversion)["until_epoch"] == 15 and conversion.is_equivalent
    assert not any("until_epoch" in note for note in conversion.ledger.notes)


def test_an_unknown_hook_is_a_difference(convert: Convert) -> None:
    conversion = convert(more="custom_hooks = [dict(type='SomeHook', strength=3)]")
    assert differences(conversion) == ["custom_hooks.0.type", "custom_hooks.0.strength"]


def test_the_average_of_the_weights(convert: Convert) -> None:
    conversion = convert(more="custom_hooks = [dict(type='EMAHook', momentum=0.0002, warm_up=100, priority=49)]")
    assert conversion.config["train"]["ema"] == pytest.approx(0.9998)
    assert differences(conversion) == ["custom_hooks.0.warm_up"]


def test_cosine_with_warmup(convert: Convert) -> None:
    cyclic = "lr_config = dict(policy='cyclic', target_ratio=(6, 0.0001), cyclic_times=1, step_ratio_up=0.4)"
    cosine = (
        "lr_config = dict(policy='CosineAnnealing', by_epoch=False, min_lr_ratio=1e-3, warmup='linear', "
        "warmup_iters=500, warmup_ratio=0.3)"
    )
    conversion = convert(edits=((cyclic, cosine),))
    assert conversion.config["schedule"] == {"type": "cosine", "warmup_steps": 500, "min_ratio": 1e-3}
    # beta1 cannot move then, and warm-up starts elsewhere.
    assert differences(conversion) == ["momentum_config", "lr_config.warmup_ratio"]
    steps = convert(edits=((cyclic, "lr_config = dict(policy='step', step=[8, 11])"),))
    assert differences(steps) == ["momentum_config", "lr_config.policy", "lr_config.step"]


def test_without_momentum_config_beta1_stays(convert: Convert) -> None:
    momentum = "momentum_config = dict(policy='cyclic', target_ratio=(0.8947368421052632, 1), cyclic_times=1, "
    conversion = convert(edits=((momentum + "step_ratio_up=0.4)\n", ""),))
    assert conversion.config["schedule"]["momentum_ratio"] == (1.0, 1.0) and conversion.is_equivalent


def test_length_accumulation_records_and_scaling(convert: Convert) -> None:
    conversion = convert(
        built=True,
        more="runner = dict(type='EpochBasedRunner', max_epochs=20)\nfind_unused_parameters = True\nseed = 5\n"
        "auto_scale_lr = dict(enable=True, base_batch_size=32)\n",
        edits=(
            ("type='CustomFp16OptimizerHook', ", "type='CustomFp16OptimizerHook', cumulative_iters=2, "),
            ("checkpoint_config = dict(interval=1)", "checkpoint_config = dict(interval=1, max_keep_ckpts=3)"),
            ("dict(type='TensorboardLoggerHook')", "dict(type='WandbLoggerHook', init_kwargs=dict(project='p'))"),
        ),
    )
    train = conversion.config["train"]
    assert conversion.is_equivalent and conversion.config["seed"] == 5
    assert (train["epochs"], train["accumulate"], train["keep"]) == (20, 2, 3)
    assert train["find_unused_parameters"] is True and train["trackers"] == ("wandb",)
    assert conversion.config["optimizer"]["base_batch_size"] == 32


def test_iterations_instead_of_epochs(convert: Convert) -> None:
    runner = "runner = dict(type='IterBasedRunner', max_iters=5000)"
    conversion = convert(edits=(("total_epochs = 20", runner),))
    assert conversion.config["train"]["max_steps"] == 5000 and "epochs" not in conversion.config["train"]


def test_without_fp16_the_run_is_in_float32(convert: Convert) -> None:
    hook = "optimizer_config = dict(grad_clip=None)  # "
    conversion = convert(edits=(("optimizer_config = dict(", hook),))
    assert conversion.config["train"]["precision"] == "fp32" and conversion.config["train"]["grad_clip"] is None
    assert "float32" not in conversion.config["model"]
    half = convert(more="fp16 = dict(loss_scale=512.)", edits=(("optimizer_config = dict(", hook),))
    assert half.config["train"]["precision"] == "fp16" and half.is_equivalent


def test_empty_sections_say_nothing(convert: Convert) -> None:
    conversion = convert(
        more="custom_hooks = []\nrunner = None\nfp16 = dict()\n",
        edits=(("checkpoint_config = dict(interval=1)", "checkpoint_config = dict()"),),
    )
    assert conversion.is_equivalent and conversion.config["train"]["precision"] == "fp16"


def test_upstreams_defaults_are_written_out_where_ours_are_others(convert: Convert) -> None:
    conversion = convert(
        built=True,
        edits=(
            (" with_cp=False,", ""),
            (" max_num=300,", ""),
            ("out_indices=(2, 3), ", ""),
            ("in_channels=[1024, 2048]", "in_channels=[256, 512, 1024, 2048]"),
            ("num_outs=2", "num_outs=4"),
            (", flip_ratio_bev_vertical=0.5", ""),
        ),
    )
    head = conversion.config["model"]["pts_bbox_head"]
    assert head["transformer"]["decoder"]["transformerlayers"]["with_cp"] is True
    assert head["bbox_coder"]["max_num"] == 100
    assert conversion.config["model"]["img_backbone"]["out_indices"] == (0, 1, 2, 3)
    flips = [step for step in conversion.config["data"]["train"]["pipeline"] if step["type"] == "CustomRandomFlip3D"]
    assert flips[0]["flip_ratio_bev_vertical"] == 0.0 and conversion.is_equivalent


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("to_rgb=False", "to_rgb=True", "data.train.dataset.pipeline.13.to_rgb"),
        (", to_rgb=False", "", "data.train.dataset.pipeline.13.to_rgb"),
        ("rot_lim=(0.0, 0.0)", "rot_lim=(-5.4, 5.4)", "data.train.dataset.pipeline.12.data_aug_conf.rot_lim"),
        ("load_interval=1", "load_interval=5", "data.train.dataset.load_interval"),
        ("flip=False, transforms", "flip=True, transforms", "data.val.pipeline.3.flip"),
        (PIPELINE, PIPELINE + " dict(type='Photo', strength=3),", "data.train.dataset.pipeline.12.type"),
        ("grad_clip=dict(max_norm=35, norm_type=2)", "grad_clip=dict(max_norm=35, norm_type=1)",
         "optimizer_config.grad_clip.norm_type"),
        ("type='AdamW'", "type='SGD'", "optimizer.type"),
        ("cyclic_times=1, step_ratio_up=0.4)\nmomentum", "cyclic_times=2, step_ratio_up=0.4)\nmomentum",
         "lr_config.cyclic_times"),
        ("workflow = [('train', 1)]", "workflow = [('train', 1), ('val', 1)]", "workflow"),
        ("resume_from = None", "resume_from = 'work_dirs/x/latest.pth'", "resume_from"),
        ("pos_weight=-1, ", "pos_weight=-1, strange=1, ", "model.train_cfg.pts.strange"),
        ("custom_keys=", "norm_decay_mult=0.0, custom_keys=", "optimizer.paramwise_cfg.norm_decay_mult"),
        ("type='ResNet', ", "type='ResNet', dcn=dict(type='DCNv2'), ", "model.img_backbone.dcn"),
        ("type='ResNet', ", "type='ResNet', pretrained='torchvision://resnet50', ", "model.img_backbone.pretrained"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_named(convert: Convert, old: str, new: str, path: str) -> None:
    found = differences(convert(edits=((old, new),)))
    assert path in found and {name.rsplit(".", 1)[-1] for name in found} <= {path.rsplit(".", 1)[-1], "strength"}


def test_a_test_set_of_its_own_is_named(convert: Convert) -> None:
    test = "test=dict(ann_file=data_root + '/nuscenes_infos_val.pkl'"
    conversion = convert(edits=((test, "test=dict(ann_file=data_root + '/nuscenes_infos_test.pkl'"),))
    assert differences(conversion) == ["data.test.ann_file"]


def test_files_elsewhere_keep_their_place(convert: Convert) -> None:
    conversion = convert(
        edits=(
            ("ann_file=data_root + '/nuscenes_infos_train.pkl'", "ann_file='/infos/train.pkl'"),
            ("val=dict(ann_file=data_root + '/nuscenes_infos_val.pkl'", "val=dict(ann_file=data_root + '/a/b.pkl'"),
        )
    )
    data = conversion.config["data"]
    assert (data["train"]["infos"], data["val"]["infos"]) == ("/infos/train.pkl", "a/b.pkl")


def test_other_classes_and_valid_boxes_go_along(convert: Convert) -> None:
    conversion = convert(
        edits=(
            ("_common = dict(", "_common = dict(use_valid_flag=True, "),
            ("class_names = ['car', 'truck', ", "class_names = ['truck', 'car', "),
        )
    )
    train = conversion.config["data"]["train"]
    assert train["classes"][:2] == ["truck", "car"]
    boxes = next(step for step in train["pipeline"] if step["type"] == "LoadAnnotations3D")
    assert boxes == {"type": "LoadAnnotations3D", "keep": "valid", "zero_unknown_velocity": True}


def test_a_crop_without_mixup_covers_what_was_there(convert: Convert) -> None:
    assert pasting(convert(edits=((" mixup_rate=0.5,", " mixup_rate=-1,"),)))["mixup_rate"] == 1.0
    assert pasting(convert(edits=((" mixup_rate=0.5,", ""),)))["mixup_rate"] == 1.0


@pytest.mark.parametrize(("arguments", "sensor"), [("mode='test', mask_modal='points'", "points"), ("", "image")])
def test_a_masked_sensor_at_test(convert: Convert, arguments: str, sensor: str) -> None:
    read = "test_pipeline = ["
    mask = f"test_pipeline = [dict(type='ModalMask3D', {arguments}), "
    step = convert(edits=((read, mask),)).config["data"]["val"]["pipeline"][0]
    assert step == {"type": "ModalMask3D", "mode": "test", "mask_modal": sensor}


def test_bases_are_read(write: Callable[..., Path], convert: Convert) -> None:
    write("log_config = dict(interval=7)\nstep = 3\n", "base.py")
    child = "_base_ = ['base.py']\nlog_config = dict(interval=50)"
    log = "log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])"
    conversion = convert(edits=((log, child.replace("interval=50", "hooks=[dict(type='TextLoggerHook')]")),))
    assert conversion.config["train"]["log_every"] == 7
    assert differences(conversion) == ["step"]  # nothing uses it


AQR = """
        enable_aqr=True, debug_mode=False, visualization_interval=100, use_simple_modulation=False,
        aqr_config=dict(
            embed_dims=256, window_sizes=[8, 5], use_type_embed=True, bev_feature_shape=(128, 128),
            pers_feature_shape=(6, 20, 50),
            encoder_config=dict(
                type='PETRTransformerDecoder', return_intermediate=True, num_layers=1,
                transformerlayers=dict(
                    type='PETRTransformerDecoderLayer', with_cp=False,
                    attn_cfgs=[dict(type='MultiheadAttention', embed_dims=256, num_heads=4, dropout=0.1)],
                    ffn_cfgs=dict(type='FFN', embed_dims=256, feedforward_channels=1024, num_fcs=2, ffn_drop=0.1,
                                  act_cfg=dict(type='ReLU', inplace=True)),
                    feedforward_channels=1024, operation_order=('cross_attn', 'norm', 'ffn', 'norm')))),
        renderer_config=dict(render_method='gaussian', gaussian_sigma=1.0, bilinear_radius=1.5, distance_decay=0.8,
                             min_weight_threshold=0.01, bev_feature_shape=(128, 128), pers_feature_shape=(6, 20, 50),
                             normalize_weights=True, max_weight_clamp=2.0),
        modulator_config=dict(type='FeatureModulator', modulation_type='element_wise', normalize_weights=False,
                              residual_connection=True, residual_weight=0.65, learnable_modulation=False,
                              activation='none'),{bias}
"""
BIAS = """
        attention_bias_config=dict(
            type='AttentionBiasGenerator', bev_feature_shape=(128, 128), pers_feature_shape=(6, 20, 50), window_size=8,
            bias_scale=2.5, learnable_scale=True, min_scale=0.5, max_scale=5.0, use_local_bias=True, fp16=True,
            debug_print=True, print_interval=100),"""
KEYS = (
    "'img_neck': dict(lr_mult=0.1)",
    "'img_neck': dict(lr_mult=0.05), 'pts_backbone': dict(lr_mult=0.0), 'pts_voxel_encoder': dict(lr_mult=0.0), "
    "'transformer': dict(lr_mult=0.5), 'query_embed': dict(lr_mult=0.5), 'reference_points': dict(lr_mult=0.3), "
    "'attention_bias_generator': dict(lr_mult=1.0), 'bias_scale': dict(lr_mult=2.0), "
    "'attention_bias_generator.bias_scale': dict(lr_mult=0.5), 'feature_modulator': dict(lr_mult=1.0)",
)


def test_an_earlier_aqr_with_attention_bias(convert: Convert) -> None:
    conversion = convert(built=True, head=AQR.format(bias=BIAS), edits=(KEYS,))
    head = conversion.config["model"]["pts_bbox_head"]
    assert head["aqr_config"] == {
        **dict(type="AQRWeightGenerator", embed_dims=256, window_sizes=[8, 5], use_type_embed=True, num_layers=1),
        **dict(with_cp=False, num_heads=4, dropout=0.1, feedforward_channels=1024),
        **dict(bev_feature_shape=(128, 128), pers_feature_shape=(6, 20, 50)),
    }
    bias = dict(window_size=8, bias_scale=2.5, learnable_scale=True, min_scale=0.5, max_scale=5.0, fp16=True)
    assert head["attention_bias_config"] == dict(type="AttentionBiasGenerator", use_local_bias=True, **bias)
    assert not {"renderer_config", "modulator_config", "enable_aqr"} & set(head)
    assert conversion.is_equivalent and any("starts neutral" in note for note in conversion.ledger.notes)
    groups = conversion.config["optimizer"]["param_groups"]
    assert groups["pts_backbone.*"] == {"frozen": True}
    assert groups["pts_bbox_head.attention_bias_generator.bias_scale"] == {"lr_mult": 0.5}
    dropped = {row.path[-1]: row.why for row in conversion.ledger.of(Outcome.DROPPED)}
    assert "no parameter" in dropped["query_embed"] and "no parameter" in dropped["pts_voxel_encoder"]
    assert "longer keys" in dropped["bias_scale"] and "attention_bias_config" in dropped["renderer_config"]


def test_an_earlier_aqr_with_weight_maps(convert: Convert) -> None:
    conversion = convert(built=True, head=AQR.format(bias=""))
    head = conversion.config["model"]["pts_bbox_head"]
    assert head["renderer_config"]["max_weight_clamp"] == 2.0 and head["modulator_config"]["residual_weight"] == 0.65
    with torch.device("meta"):
        model = build_detector(conversion.config["model"])
    assert model.pts_bbox_head.feature_modulator is not None and model.pts_bbox_head.attention_bias_generator is None
    assert any("composition='sum'" in note for note in conversion.ledger.notes) and conversion.is_equivalent


def test_an_earlier_aqr_switched_off(convert: Convert) -> None:
    conversion = convert(head=AQR.format(bias=BIAS).replace("enable_aqr=True", "enable_aqr=False"))
    assert "aqr_config" not in conversion.config["model"]["pts_bbox_head"] and conversion.is_equivalent
