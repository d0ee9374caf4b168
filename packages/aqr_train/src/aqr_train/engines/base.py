"""What the trainer asks of an engine: one micro-batch, one update, and whole tensors out of whatever holds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from torch.optim import Optimizer

from aqr_core.structures import Batch
from aqr_train.precision import LossScale, autocast
from aqr_train.settings import TrainSettings

OptimizerState = dict[str, dict[str, Tensor]]  # parameter name -> step (), exp_avg and exp_avg_sq as the parameter
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Update:
    """What came of an update.

    Attributes:
        grad_norm: global L2 norm of the gradient before clipping, without loss scale.
        applied: False where the norm is not finite; weights and moments are as before then.
    """

    grad_norm: float
    applied: bool


class Engine(ABC):
    """How model and optimiser are spread over the processes.

    Autocast, loss scale and accumulation are the same for all: weights, gradients and moments are float32, only the
    forward pass computes in less, so the model's float32 islands hold whatever shards it.

    Args:
        accelerator: processes and device.
        model: plain, frozen parameters already without gradient.
        make_optimizer: called with the model once its parameters are the ones to train.
        settings: precision, accumulation, clipping.

    Attributes:
        kind: in words, such as 'ZeRO-2'.
        plain_model: the model as it was given; its parameters may be shards.
        optimizer: as torch knows it.
        loss_scale: of fp16, else None.
    """

    kind: str
    optimizer: Optimizer

    def __init__(self, accelerator: Accelerator, model: nn.Module, settings: TrainSettings) -> None:
        self.accelerator = accelerator
        self.plain_model = model
        self.settings = settings
        self.loss_scale = LossScale() if settings.precision == "fp16" else None
        self.names = {name: p for name, p in model.named_parameters() if p.requires_grad}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of the optimiser: `name`, `lr`, `base_lr`, `betas`, `base_beta1`, `weight_decay`, ..."""
        return self.optimizer.param_groups

    def forward(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Named losses of a batch in the precision of the run."""
        with autocast(self.accelerator.device, self.settings.precision):
            losses: dict[str, Tensor] = module(batch)
        return losses

    @abstractmethod
    def run(self, batch: Batch, *, last: bool) -> dict[str, Tensor]:
        """Forward and backward of one micro-batch; returns its losses, detached.

        Args:
            batch: of this process, on its device.
            last: the one before `update`; gradients are exchanged then.
        """

    @abstractmethod
    def update(self) -> Update:
        """Unscale, clip, step, clear the gradients; nothing but the last where the gradient is not finite."""

    @abstractmethod
    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of every parameter, whole on every process, one by one; collective, so go through all.

        A value holds until the next one is asked for, so that no process need have room for all of them.
        """

    @abstractmethod
    def optimizer_state(self) -> OptimizerState:
        """Moments of every trained parameter, whole and on the CPU; collective, filled on the main process alone.

        The format is the same for every engine, so that a run resumes on another one.
        """

    @abstractmethod
    def load_optimizer_state(self, state: OptimizerState) -> None:
        """Inverse of `optimizer_state`, given whole on every process, before the first update."""

    @abstractmethod
    def edit(self, parameter: nn.Parameter, change: Callable[[], None]) -> None:
        """Run `change`, which changes a parameter in place, entry by entry, so that the change lasts; collective."""

    @contextmanager
    def whole_model(self) -> Iterator[nn.Module]:
        """A plain model with the whole current weights and the main process's statistics; collective.

        It is the trained one where every process has all of it; change its mode, not its weights.
        """
        self._same_buffers()
        yield self.plain_model

    def bad_parameters(self) -> list[str]:
        """Names whose gradient here is not finite, after an update that was not applied."""
        return [
            name
            for name, parameter in self.names.items()
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all()
        ]

    def state_dict(self) -> dict[str, Any]:
        """Everything of the optimiser that resumes; collective."""
        scale = {} if self.loss_scale is None else self.loss_scale.state_dict()
        return {"optimizer": self.optimizer_state(), "scaler": scale}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; what is frozen now needs no moments, what was frozen then begins without."""
        self.load_optimizer_state({name: part for name, part in state["optimizer"].items() if name in self.names})
        if self.loss_scale is not None and state["scaler"]:
            self.loss_scale.load_state_dict(state["scaler"])

    def scaled(self, loss: Tensor) -> Tensor:
        """What backward starts from: the mean over the micro-batches of an update, in the scale of fp16."""
        factor = (1.0 if self.loss_scale is None else self.loss_scale.value) / self.settings.accumulate
        return loss if factor == 1.0 else loss * factor

    def _same_buffers(self) -> None:
        """Statistics of batch normalisations differ between processes; those of the main one are saved and predict."""
        if self.accelerator.num_processes > 1:
            for buffer in self.plain_model.buffers():
                broadcast(buffer)
