"""How model and optimiser are spread over processes: one process or DDP, ZeRO-1 to 3, FSDP2."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from aqr_train.engines.base import Engine, OptimizerState, Update
from aqr_train.settings import TrainSettings

__all__ = ["Engine", "OptimizerState", "Update", "build_engine"]


def build_engine(
    scheme: str,
    accelerator: Accelerator,
    model: nn.Module,
    make_optimizer: Callable[[nn.Module], Optimizer],
    settings: TrainSettings,
    batch_size: int,
) -> Engine:
    """The engine of `processes.Scheme.kind`: 'zero', 'fsdp2' or 'plain'; deepspeed is imported for the first alone."""
    if scheme == "zero":
        from aqr_train.engines.zero import ZeroEngine

        return ZeroEngine(accelerator, model, make_optimizer, settings, batch_size)
    if scheme == "fsdp2":
        from aqr_train.engines.sharded import ShardedEngine

        return ShardedEngine(accelerator, model, make_optimizer, settings)
    from aqr_train.engines.plain import PlainEngine

    return PlainEngine(accelerator, model, make_optimizer, settings)
