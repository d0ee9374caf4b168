"""What cannot go together, told before a model is built and data is opened."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from aqr_core.errors import ConfigError
from aqr_train.settings import TrainSettings

# Versions of DeepSpeed that the tests run with: the engine reads its partitions, and earlier ones crash in ZeRO-3 with
# frozen parts and recomputation (deepspeedai/DeepSpeed#8130) or in ZeRO-2 with a frozen group (#4055).
TESTED_DEEPSPEED = ((0, 19, 8), (0, 20))


def check_conflicts(config: Mapping[str, Any], settings: TrainSettings, kind: str, device: str) -> None:
    """Refuse settings that exclude each other.

    Args:
        config: resolved.
        settings: its section `train`.
        kind: of the engine, as `Engine.kind` says it: 'one process', 'DDP', 'ZeRO-1' to 'ZeRO-3', 'FSDP2'.
        device: 'cpu' or 'cuda'.

    Raises:
        ConfigError: names both settings and which to change.
    """
    if settings.ema is not None and kind in ("ZeRO-3", "FSDP2"):
        raise ConfigError(
            f"train.ema is {settings.ema}, but {kind} leaves no process with whole weights to average; set train.ema "
            "to None, or launch with DDP, ZeRO-1 or ZeRO-2."
        )
    if settings.find_unused_parameters and kind not in ("one process", "DDP"):
        raise ConfigError(
            f"train.find_unused_parameters is an option of DDP and the launcher asks for {kind}, which needs none; set "
            "it to False."
        )
    if kind.startswith("ZeRO"):
        check_deepspeed(version("deepspeed"))
    bias = config.get("model", {}).get("pts_bbox_head", {}).get("attention_bias_config") or {}
    if bias.get("attention_backend") == "flex" and device == "cpu":
        raise ConfigError(
            "attention_bias_config.attention_backend is 'flex', which has no backward pass on a CPU; set it to 'auto' "
            "or 'window', or train on a GPU."
        )


def check_deepspeed(installed: str) -> None:
    """Refuse a DeepSpeed that the engine has not been tested with."""
    numbers = tuple(int(part) for part in installed.split("+")[0].split(".")[:3] if part.isdigit())
    least, below = TESTED_DEEPSPEED
    if not least <= numbers < below:
        raise ConfigError(
            f"DeepSpeed {installed} is installed; tested are versions from {'.'.join(map(str, least))} to below "
            f"{'.'.join(map(str, below))}, and earlier ones fail with frozen parts; run "
            "`pip install 'aqr-train[deepspeed]'`."
        )
