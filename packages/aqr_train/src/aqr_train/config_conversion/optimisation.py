"""`optimizer`, `optimizer_config`, `lr_config`, `momentum_config`, `fp16`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.ledger import Outcome

# What optimizer_config.custom_fp16 may keep in float32, and how we say so.
_ALWAYS_FLOAT32 = ("pts_voxel_encoder", "pts_middle_encoder", "pts_backbone")
_HEAD_PARTS = ("pts_bbox_head.transformer", "pts_bbox_head.shared_conv")


def convert_optimizer(optimizer: Fields, parameters: Sequence[str]) -> dict[str, Any]:
    """The optimiser and its groups.

    Args:
        optimizer: the section of the source.
        parameters: full names of the model's parameters, which the keys of `paramwise_cfg` are matched with.
    """
    optimizer.fixed("type", "AdamW", "AdamW2", why="the optimiser here is AdamW")
    out: dict[str, Any] = {"type": "AdamW"}
    out["lr"] = optimizer.keep("lr") if "lr" in optimizer else optimizer.add("lr", 1e-3, "torch's default")
    out["weight_decay"] = optimizer.keep("weight_decay", 0.01)
    if "betas" in optimizer:
        out["betas"] = optimizer.keep("betas")
    optimizer.fixed("eps", 1e-8, why="torch's default")
    optimizer.fixed("amsgrad", False, why="torch's default")
    paramwise = optimizer.child("paramwise_cfg")
    for name in ("norm_decay_mult", "bias_lr_mult", "bias_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult"):
        paramwise.fixed(name, 1, 1.0, why="groups are chosen by name")
    paramwise.drop("bypass_duplicate", "a tied parameter belongs to one group")
    out["param_groups"] = _convert_keys(paramwise.child("custom_keys"), parameters)
    return out


def convert_scaling(config: Fields) -> dict[str, Any]:
    """`auto_scale_lr` -> `optimizer.base_batch_size`."""
    scale = config.child("auto_scale_lr")
    if scale.get("enable"):
        scale.derive("enable", "optimizer.base_batch_size", "the rate follows the batch")
        return {"base_batch_size": scale.rename("base_batch_size", "optimizer.base_batch_size")}
    for name in ("enable", "base_batch_size"):
        scale.drop(name, "the rate does not follow the batch")
    return {}


def _convert_keys(keys: Fields, parameters: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Substrings -> globs, so that each parameter has the settings it had."""
    # mmcv: the longest key within the name, of equally long ones the first in the alphabet.
    ranked = sorted(sorted(keys), key=len, reverse=True)
    owners = {name: next((key for key in ranked if key in name), None) for name in parameters}
    patterns = {key: _glob(key, parameters) for key in keys if key in owners.values()}
    if any(_matching(name, patterns) != owner for name, owner in owners.items()):
        # Of equally long globs the last wins.
        patterns = {key: f"*{key}*" for key in reversed(ranked) if key in patterns}
    out: dict[str, dict[str, Any]] = {}
    for key in keys:
        if key not in patterns:
            taken = any(key in name for name in parameters)
            keys.drop(
                key, "longer keys take all that it matches" if taken else "matches no parameter, as mmcv lets pass"
            )
    for key, pattern in patterns.items():
        out[pattern] = _convert_rule(keys.child(key), pattern)
    return out


def _matching(name: str, patterns: dict[str, str]) -> str | None:
    """The key whose glob wins, see `aqr_train.param_groups`."""
    matching = [key for key, pattern in reversed(patterns.items()) if fnmatchcase(name, pattern)]
    return max(matching, key=lambda key: len(patterns[key]), default=None)


def _convert_rule(settings: Fields, pattern: str) -> dict[str, Any]:
    target = f"optimizer.param_groups['{pattern}']"
    if settings.get("lr_mult") == 0:
        why = "nothing trains; upstream, statistics of normalisations keep moving, here they stay (docs/freezing.md)"
        settings.derive("lr_mult", f"{target}.frozen = True", why)
        settings.drop("decay_mult", "what is frozen does not decay")
        return {"frozen": True}
    names = [name for name in ("lr_mult", "decay_mult") if name in settings]
    return {name: settings.rename(name, f"{target}.{name}") for name in names}


def _glob(key: str, parameters: Sequence[str]) -> str:
    """The path of the module or parameter where the key stands for one, else `*key*`."""
    matched = [name for name in parameters if key in name]
    paths = {name[: name.index(key) + len(key)] for name in matched}
    if len(paths) == 1:
        path = paths.pop()
        if matched == [path]:
            return path
        if all(name.startswith(f"{path}.") for name in matched):
            return f"{path}.*"
    return f"*{key}*"


def convert_precision(config: Fields, model: dict[str, Any]) -> dict[str, Any]:
    """`optimizer_config` and `fp16` -> fields of `train`; what is to stay in float32 goes into `model`."""
    hook = config.child("optimizer_config")
    kind = str(hook.get("type", "OptimizerHook"))
    halves = "Fp16" in kind or config.get("fp16") is not None
    out: dict[str, Any] = {"grad_clip": _convert_clip(hook)}
    known = ("OptimizerHook", "Fp16OptimizerHook", "CustomFp16OptimizerHook", "GradientCumulativeOptimizerHook")
    if kind in (*known, "GradientCumulativeFp16OptimizerHook"):
        hook.derive("type", "train.precision", "fp16 or fp32; on a CPU set bf16 or fp32")
    else:
        hook.differ("type", "no such hook here")
    out["precision"] = "fp16" if halves else "fp32"
    if "cumulative_iters" in hook:
        out["accumulate"] = hook.rename("cumulative_iters", "train.accumulate")
    loss_scale = "the loss scale adapts itself, from 65536"
    hook.drop("loss_scale", loss_scale)
    hook.drop("detect_anomalous_params", "what is not finite is named always")
    hook.drop("coalesce", "the engine decides")
    hook.drop("bucket_size_mb", "the engine decides")
    custom = hook.child("custom_fp16")
    float32: list[str] = []
    for name in custom:
        if name not in model:
            custom.differ(name, "the model has no such part")
        elif custom.get(name):
            custom.drop(name, "half precision is the rule")
        elif name in _ALWAYS_FLOAT32:
            custom.drop(name, "float32 here always (docs/precision.md)")
        elif name == "pts_bbox_head":
            custom.derive(name, "model.float32", "its decoder and first convolution; the rest of it is float32 anyway")
            float32 += _head_parts(model)
        else:
            custom.derive(name, "model.float32", "the module keeps float32")
            float32.append(f"{name}.*")
    if float32 and halves:
        model["float32"] = [*(["pts_backbone"] if "pts_backbone" in model else []), *float32]
    if config.get("fp16") is not None:
        fp16 = config.child("fp16")
        fp16.drop("loss_scale", loss_scale)
        if not fp16.node:
            config.derive("fp16", "train.precision", "fp16")
    else:
        config.drop("fp16", "not set")
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


def convert_schedule(rate: Fields, momentum: Fields) -> dict[str, Any]:
    """`lr_config` and `momentum_config` -> `schedule`."""
    policy = rate.get("policy")
    if policy == "cyclic":
        return _cyclic(rate, momentum)
    if momentum.node:
        why = "AdamW's beta1 moves with the cyclic policy alone"
        momentum.ledger.record(momentum.path, Outcome.DIFFERENCE, momentum.node, why=why)
    if policy == "CosineAnnealing":
        return _cosine(rate)
    warmup = _warmup(rate)
    if policy in ("fixed", None):
        rate.derive("policy", "schedule.type = 'constant'", "the rate stays")
    else:
        rate.differ("policy", "no such schedule here; the rate stays constant: choose one of docs/configs.md")
    return {"type": "constant", **warmup}


def _cyclic(rate: Fields, momentum: Fields) -> dict[str, Any]:
    rate.rename("policy", "schedule.type")
    target = rate.rename("target_ratio", "schedule.target_ratio", (10, 1e-4))
    step = rate.rename("step_ratio_up", "schedule.step_ratio_up", 0.4)
    _one_cycle(rate)
    moves: Any = (1.0, 1.0)
    if momentum.node:
        momentum.fixed("policy", "cyclic", why="beta1 moves with the rate")
        moves = momentum.rename("target_ratio", "schedule.momentum_ratio", (0.85 / 0.95, 1.0))
        momentum.fixed("step_ratio_up", step, why="beta1 turns with the rate")
        _one_cycle(momentum)
    else:
        rate.add("momentum_ratio", moves, "beta1 stays, there is no momentum_config")
    return {
        "type": "cyclic",
        "target_ratio": _pair(target),
        "momentum_ratio": _pair(moves),
        "step_ratio_up": step,
    }


def _pair(value: Any) -> tuple[float, float]:  # noqa: ANN401
    """With mmcv one number is the top, with an end a hundred thousand times lower."""
    if isinstance(value, int | float):
        return float(value), value / 1e5
    return float(value[0]), float(value[1])


def _one_cycle(section: Fields) -> None:
    section.fixed("cyclic_times", 1, why="there is one cycle")
    section.fixed("gamma", 1, why="there is one cycle")
    section.fixed("anneal_strategy", "cos", why="both halves are cosines")
    section.fixed("by_epoch", False, why="every step has its rate")


def _cosine(rate: Fields) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "cosine", **_warmup(rate)}
    if "min_lr_ratio" in rate:
        out["min_ratio"] = rate.rename("min_lr_ratio", "schedule.min_ratio")
    else:
        rate.differ("min_lr", "the end of the cosine is a share of the rate; set schedule.min_ratio")
    if "by_epoch" in rate:
        rate.rename("policy", "schedule.type")
        rate.fixed("by_epoch", False, why="every step has its rate")
    else:
        rate.differ(
            "policy", "by_epoch is absent, which means True: steps of an epoch each; every step has its rate here"
        )
    return out


def _warmup(rate: Fields) -> dict[str, Any]:
    if rate.get("warmup") is None:
        for name in ("warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch"):
            rate.drop(name, "no warm-up")
        return {}
    rate.fixed("warmup", "linear", why="warm-up is linear")
    rate.fixed("warmup_by_epoch", False, why="warm-up counts steps")
    rate.differ("warmup_ratio", "warm-up starts near 0; it is over after the same number of steps")
    return {"warmup_steps": rate.rename("warmup_iters", "schedule.warmup_steps", 0)}
