"""`optimizer` and `auto_scale_lr`: AdamW and the settings of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from aqr_train.config_conversion.fields import Fields


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
