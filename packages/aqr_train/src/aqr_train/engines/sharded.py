"""Weights, gradients and moments shared out by torch itself: FSDP2.

Accelerate's FSDP never engages without a GPU, so it could not be tested; torch's `fully_shard` runs everywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from aqr_core.structures import Batch
from aqr_train.engines.base import MOMENTS, Engine, OptimizerState, Update
from aqr_train.engines.plain import clip_and_step
from aqr_train.engines.replica import filled
from aqr_train.settings import TrainSettings


class ShardedEngine(Engine):
    """FSDP2: every child of the detector and every decoder layer is gathered when it runs and given up after."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        make_optimizer: Callable[[nn.Module], Optimizer],
        settings: TrainSettings,
    ) -> None:
        super().__init__(accelerator, model, settings)
        self.kind = "FSDP2"
        self._replica = copy.deepcopy(model).requires_grad_(False)
        model.to(accelerator.device)
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        for unit in units(model):
            fully_shard(unit, mesh=mesh)
        self.trained: FSDPModule = fully_shard(model, mesh=mesh)
        self.names = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = make_optimizer(model)

    def run(self, batch: Batch, *, last: bool) -> dict[str, Tensor]:
        """See `Engine`."""
        self.trained.set_requires_gradient_sync(last)
        losses = self.forward(self.plain_model, batch)
        torch.autograd.backward(self.scaled(losses["loss"]))
        return {name: loss.detach() for name, loss in losses.items()}

    def update(self) -> Update:
        """See `Engine`."""
        gradients = [parameter.grad for parameter in self.names.values() if parameter.grad is not None]
        return clip_and_step(self, float(_whole(nn.utils.get_total_norm(gradients))), gradients)

    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """See `Engine`."""
        for name, parameter in self.plain_model.named_parameters():
            yield name, _whole(parameter.detach())

    @contextmanager
    def whole_model(self) -> Iterator[nn.Module]:
        """See `Engine`."""
        self._same_buffers()
        with filled(self._replica, self) as model:
            yield model

    def optimizer_state(self) -> OptimizerState:
        """See `Engine`."""
        whole: OptimizerState = {}
        for name, parameter in self.names.items():
            if parameter in self.optimizer.state:
                moments = {key: _whole(value) for key, value in self.optimizer.state[parameter].items()}
                if self.accelerator.is_main_process:
                    whole[name] = {key: value.cpu() for key, value in moments.items()}
        return whole

    def load_optimizer_state(self, state: OptimizerState) -> None:
        """See `Engine`."""
        for name, moments in state.items():
            parameter: Any = self.names[name]  # a DTensor
            held: dict[str, Any] = {"step": moments["step"].clone()}
            for key in MOMENTS:
                value = moments[key].to(self.accelerator.device)
                held[key] = distribute_tensor(value, parameter.device_mesh, parameter.placements)
            self.optimizer.state[parameter] = held

    def edit(self, parameter: nn.Parameter, change: Callable[[], None]) -> None:
        """See `Engine`; a change that looks at one entry at a time is the same on a shard."""
        change()


def units(model: nn.Module) -> list[nn.Module]:
    """What is gathered together: decoder layers, then the children of the detector but for its head."""
    layers = [module for name, module in model.named_modules() if name.rpartition(".")[0].endswith("decoder.layers")]
    branches = [child for name, child in model.named_children() if name != "pts_bbox_head"]
    return [*layers, *(branch for branch in branches if next(branch.parameters(), None) is not None)]


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
