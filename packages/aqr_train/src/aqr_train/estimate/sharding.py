"""What the formulas depend on: how large a model is, and how it is spread over processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from aqr_core.errors import ConfigError
from aqr_train.engines import Engine
from aqr_train.engines.sharded import units
from aqr_train.engines.zero import BUCKET, shape_of

FLOAT = 4  # bytes; weights, gradients and moments are float32 in every engine, whatever the precision
PERSISTENT = 100_000  # numbers; DeepSpeed's default


@dataclass(frozen=True)
class ModelSize:
    """Numbers of a model.

    Attributes:
        trainable, frozen: parameters that train and that do not.
        buffers: bytes of statistics and grids, on every process.
        small: parameters in tensors that ZeRO-3 leaves whole (`stage3_param_persistence_threshold`).
        regathered: parameters of FSDP2's units that are gathered for the backward pass once more.
    """

    trainable: int
    frozen: int
    buffers: int = 0
    small: int = 0
    regathered: int = 0

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.trainable + self.frozen

    @classmethod
    def of(cls, model: nn.Module) -> ModelSize:
        """Of a model whose frozen parameters are already without gradient; an engine may have shared it out."""
        counts = {True: 0, False: 0}
        for parameter in model.parameters():
            counts[parameter.requires_grad] += shape_of(parameter).numel()
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
        sizes = [shape_of(parameter).numel() for parameter in model.parameters()]
        small = sum(size for size in sizes if size <= PERSISTENT)
        return cls(counts[True], counts[False], buffers, small, _regathered(model))


def _regathered(model: nn.Module) -> int:
    """A frozen unit without graph is not needed again, but is fetched ahead for the unit that ran after it."""
    held = [list(unit.parameters()) for unit in units(model)]
    trains = [any(parameter.requires_grad for parameter in parameters) for parameters in held]
    following = [*trains, False][1:]
    return sum(
        sum(shape_of(parameter).numel() for parameter in parameters)
        for parameters, now, then in zip(held, trains, following, strict=True)
        if now or then
    )


@dataclass(frozen=True)
class Sharding:
    """How weights, gradients and moments are spread over the processes; the fields are those of the engines.

    Attributes:
        kind: 'one process', 'DDP', 'ZeRO-1', 'ZeRO-2', 'ZeRO-3' or 'FSDP2', as `Engine.kind` says it.
        offload: ZeRO only: moments, and the weights they belong to, in the memory of the host.
        bucket: ZeRO only: `reduce_bucket_size` of DeepSpeed, in numbers; as the engine sets it.
        regather: ZeRO-3 only: weights are given up after the forward pass. DeepSpeed does that where the model has more
            parameters than `stage3_max_live_parameters` or `stage3_max_reuse_distance`, by default 1e9 both.
    """

    kind: str
    offload: bool = False
    bucket: int = BUCKET
    regather: bool = False

    @classmethod
    def of(cls, engine: Engine) -> Sharding:
        """That of a running engine."""
        plugin: Any = getattr(engine.accelerator.state, "deepspeed_plugin", None)
        if plugin is None:
            return cls(engine.kind)
        zero = plugin.deepspeed_config["zero_optimization"]
        device = (zero.get("offload_optimizer") or {}).get("device", "none")
        return cls(engine.kind, offload=device not in ("none", None), bucket=int(zero["reduce_bucket_size"]))

    @classmethod
    def chosen(cls, world_size: int, stage: int, *, fsdp: bool = False, offload: bool = False) -> Sharding:
        """As the arguments of `aqr estimate` name it.

        Raises:
            ConfigError: there is no such combination.
        """
        if stage not in (0, 1, 2, 3):
            raise ConfigError(f"--zero is {stage}; the stages are 1, 2 and 3, and 0 is DDP.")
        if fsdp and stage:
            raise ConfigError(f"--fsdp and --zero {stage} exclude each other; give one of them.")
        if offload and not stage:
            raise ConfigError("--offload belongs to ZeRO; add --zero 1, 2 or 3, or leave it out.")
        if fsdp and world_size == 1:
            raise ConfigError("--fsdp shares weights out over processes and --gpus is 1; give more, or leave it out.")
        if fsdp:
            return cls("FSDP2")
        if stage:
            return cls(f"ZeRO-{stage}", offload)
        return cls("DDP" if world_size > 1 else "one process")

    @property
    def stage(self) -> int:
        """Of ZeRO; 0 for the others."""
        return int(self.kind.removeprefix("ZeRO-")) if self.kind.startswith("ZeRO-") else 0
