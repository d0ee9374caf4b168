"""One process, or several that hold everything and average their gradients (DDP)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from aqr_core.structures import Batch
from aqr_train.engines.base import MOMENTS, Engine, OptimizerState, Update
from aqr_train.settings import TrainSettings


class PlainEngine(Engine):
    """Every process holds all weights, gradients and moments."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        make_optimizer: Callable[[nn.Module], Optimizer],
        settings: TrainSettings,
    ) -> None:
        super().__init__(accelerator, model, settings)
        self.kind = "DDP" if accelerator.num_processes > 1 else "one process"
        self.trained: nn.Module = accelerator.prepare_model(model)
        self.optimizer = make_optimizer(model)

    def run(self, batch: Batch, *, last: bool) -> dict[str, Tensor]:
        """See `Engine`."""
        with nullcontext() if last else self.accelerator.no_sync(self.trained):
            losses = self.forward(self.trained, batch)
            torch.autograd.backward(self.scaled(losses["loss"]))
        return {name: loss.detach() for name, loss in losses.items()}

    def update(self) -> Update:
        """See `Engine`."""
        gradients = [parameter.grad for parameter in self.names.values() if parameter.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients))
        return clip_and_step(self, norm, gradients)

    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """See `Engine`."""
        for name, parameter in self.plain_model.named_parameters():
            yield name, parameter.detach()

    def optimizer_state(self) -> OptimizerState:
        """See `Engine`."""
        if not self.accelerator.is_main_process:
            return {}
        return {
            name: {key: self.optimizer.state[parameter][key].cpu() for key in ("step", *MOMENTS)}
            for name, parameter in self.names.items()
            if parameter in self.optimizer.state
        }

    def load_optimizer_state(self, state: OptimizerState) -> None:
        """See `Engine`."""
        for name, moments in state.items():
            parameter = self.names[name]
            self.optimizer.state[parameter] = {
                "step": moments["step"].clone(),
                **{key: moments[key].to(parameter.device, copy=True) for key in MOMENTS},
            }

    def edit(self, parameter: nn.Parameter, change: Callable[[], None]) -> None:
        """See `Engine`."""
        change()


def clip_and_step(engine: Engine, scaled_norm: float, gradients: list[Tensor]) -> Update:
    """The update of engines whose optimiser steps on the gradients as backward left them."""
    scale, largest = engine.loss_scale, engine.settings.grad_clip
    factor = 1.0 if scale is None else 1.0 / scale.value
    norm = scaled_norm * factor
    applied = norm - norm == 0  # neither NaN nor infinite
    if applied:
        if largest is not None:
            factor *= min(1.0, largest / (norm + 1e-6))
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
        engine.optimizer.step()
    if scale is not None:
        scale.update(applied)
    if applied or scale is not None:  # else they tell which parameter is to blame
        engine.optimizer.zero_grad()
    return Update(norm, applied)
