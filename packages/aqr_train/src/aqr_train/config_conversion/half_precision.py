"""`optimizer_config` and `fp16`: precision, clipping and accumulation."""

from __future__ import annotations

from typing import Any

from aqr_train.config_conversion.fields import Fields

# What optimizer_config.custom_fp16 may keep in float32, and how we say so.
_ALWAYS_FLOAT32 = ("pts_voxel_encoder", "pts_middle_encoder", "pts_backbone")
_LOSS_SCALE = "the loss scale adapts itself, from 65536"
_HOOKS = (
    "OptimizerHook",
    "Fp16OptimizerHook",
    "CustomFp16OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
)
_HEAD_PARTS = ("pts_bbox_head.transformer", "pts_bbox_head.shared_conv")


def convert_precision(config: Fields, model: dict[str, Any]) -> dict[str, Any]:
    """Fields of `train`; what is to stay in float32 goes into `model`."""
    hook = config.child("optimizer_config")
    kind = str(hook.get("type", "OptimizerHook"))
    halves = "Fp16" in kind or config.get("fp16") is not None
    if kind in _HOOKS:
        hook.derive("type", "train.precision", "fp16 or fp32; on a CPU set bf16 or fp32")
    else:
        hook.differ("type", "no such hook here")
    out: dict[str, Any] = {"grad_clip": _convert_clip(hook), "precision": "fp16" if halves else "fp32"}
    if "cumulative_iters" in hook:
        out["accumulate"] = hook.rename("cumulative_iters", "train.accumulate")
    hook.drop("loss_scale", _LOSS_SCALE)
    hook.drop("detect_anomalous_params", "what is not finite is named always")
    for name in ("coalesce", "bucket_size_mb"):
        hook.drop(name, "the engine decides")
    float32 = _float32_parts(hook.child("custom_fp16"), model)
    if float32 and halves:
        model["float32"] = [*(["pts_backbone"] if "pts_backbone" in model else []), *float32]
    if config.get("fp16") is None:
        config.drop("fp16", "not set")
    else:
        config.child("fp16").drop("loss_scale", _LOSS_SCALE)
    return out


def _float32_parts(custom: Fields, model: dict[str, Any]) -> list[str]:
    """Globs of the modules that `custom_fp16` keeps out of half precision, beside those that always are."""
    out: list[str] = []
    for name in custom:
        if name not in model:
            custom.differ(name, "the model has no such part")
        elif custom.get(name):
            custom.drop(name, "half precision is the rule")
        elif name in _ALWAYS_FLOAT32:
            custom.drop(name, "float32 here always (docs/precision.md)")
        elif name == "pts_bbox_head":
            custom.derive(name, "model.float32", "its decoder and first convolution; the rest of it is float32 anyway")
            out += _head_parts(model)
        else:
            custom.derive(name, "model.float32", "the module keeps float32")
            out.append(name)
    return out


def _head_parts(model: dict[str, Any]) -> list[str]:
    return [name for name in _HEAD_PARTS if "shared_conv" not in name or "pts_backbone" in model]


def _convert_clip(hook: Fields) -> float | None:
    clip = hook.child("grad_clip")
    if "max_norm" not in clip:
        if "grad_clip" not in hook:
            hook.add("grad_clip", None, "upstream does not clip unless told")
        return None
    clip.fixed("norm_type", 2, why="the L2 norm")
    return float(clip.rename("max_norm", "train.grad_clip"))
