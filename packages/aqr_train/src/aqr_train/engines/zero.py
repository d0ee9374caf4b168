"""DeepSpeed's ZeRO, stages 1 to 3 (Rajbhandari et al., arXiv 1910.02054)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from aqr_core.models.head.position import RayEmbedding
from aqr_core.structures import Batch
from aqr_train.engines.base import MOMENTS, Engine, OptimizerState, Update
from aqr_train.engines.replica import filled
from aqr_train.precision import autocast
from aqr_train.settings import TrainSettings

# Numbers exchanged at once: 100 MB; DeepSpeed's own half a billion would take 2 GB of every process.
BUCKET = 25_000_000


class ZeroEngine(Engine):
    """Moments (stage 1), gradients (2) and weights (3) are shared out over the processes.

    DeepSpeed runs in float32, whatever the precision: autocast and loss scale are ours, see `Engine`.

    Args:
        batch_size: samples per process and micro-batch, which DeepSpeed wants to know.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        make_optimizer: Callable[[nn.Module], Optimizer],
        settings: TrainSettings,
        batch_size: int,
    ) -> None:
        super().__init__(accelerator, model, settings)
        plugin = accelerator.state.deepspeed_plugin
        assert plugin is not None
        self.stage = int(plugin.zero_stage)
        self.kind = f"ZeRO-{self.stage}"
        zero_settings = plugin.deepspeed_config["zero_optimization"]
        for bucket in ("reduce_bucket_size", "allgather_bucket_size"):
            if zero_settings.get(bucket, "auto") == "auto":
                zero_settings[bucket] = BUCKET
        plugin.deepspeed_config.update(
            train_micro_batch_size_per_gpu=batch_size,
            gradient_accumulation_steps=settings.accumulate,
            gradient_clipping=settings.grad_clip or 0.0,
            # With offloading DeepSpeed would put an optimiser of its own, to be compiled, in the place of torch's.
            zero_force_ds_cpu_optimizer=False,
        )
        accelerator.gradient_accumulation_steps = settings.accumulate
        # Stage 3 leaves no whole weights anywhere, so prediction and checkpoints need a model of their own.
        self._replica = copy.deepcopy(model).requires_grad_(False) if self.stage == 3 else None
        if self.stage == 3:
            _gather_what_is_read_from_outside(model)
        self._autocast_inside(model)
        self.trained, wrapped = accelerator.prepare(model, make_optimizer(model))
        self.zero: Any = wrapped.optimizer
        self.optimizer = self.zero.optimizer

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """See `Engine`."""
        groups: list[dict[str, Any]] = self.zero.param_groups
        return groups

    def run(self, batch: Batch, *, last: bool) -> dict[str, Tensor]:
        """See `Engine`."""
        if self.loss_scale is not None:
            self.zero.override_loss_scale(self.loss_scale.value)
        self.trained.set_gradient_accumulation_boundary(is_boundary=last)
        losses: dict[str, Tensor] = self.trained(batch)
        self.trained.backward(losses["loss"])
        return {name: loss.detach() for name, loss in losses.items()}

    def update(self) -> Update:
        """See `Engine`; DeepSpeed itself leaves out an update whose gradient is not finite."""
        self.trained.step()
        applied = not self.zero.overflow
        norm = float(self.trained.get_global_grad_norm()) if applied else float("nan")
        if self.loss_scale is not None:
            self.loss_scale.update(applied)
        return Update(norm, applied)

    def whole_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """See `Engine`."""
        import deepspeed

        for name, parameter in self.plain_model.named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.stage == 3):
                yield name, parameter.detach()

    @contextmanager
    def whole_model(self) -> Iterator[nn.Module]:
        """See `Engine`."""
        if self._replica is None:
            with super().whole_model() as model:
                yield model
            return
        self._same_buffers()
        with filled(self._replica, self) as model:
            yield model

    def optimizer_state(self) -> OptimizerState:
        """See `Engine`."""
        from deepspeed.utils import safe_get_full_optimizer_state

        if not self.optimizer.state:
            return {}
        step = next(iter(self.optimizer.state.values()))["step"]
        self._link_moments()
        whole: OptimizerState = {}
        for name, parameter in self.names.items():
            moments = {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
            if self.accelerator.is_main_process:
                moments = {key: value.reshape(shape_of(parameter)).cpu() for key, value in moments.items()}
                whole[name] = {"step": step.clone().cpu(), **moments}
        return whole

    def load_optimizer_state(self, state: OptimizerState) -> None:
        """See `Engine`."""
        if not state:
            return
        step = next(iter(state.values()))["step"]
        # AdamW makes its moments in the first update; here they are needed before it.
        for partition in self._partitions():
            moments = {key: torch.zeros_like(partition, requires_grad=False) for key in MOMENTS}
            self.optimizer.state[partition] = {"step": step.clone(), **moments}
        self._link_moments()
        for name, moments in state.items():
            for key in MOMENTS:
                self._set(self.names[name], moments[key].to(self.accelerator.device), key)

    def edit(self, parameter: nn.Parameter, change: Callable[[], None]) -> None:
        """See `Engine`; DeepSpeed's own copy of the weights must follow, or the next update undoes the change."""
        import deepspeed

        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=self.stage == 3):
            change()
            value = parameter.detach().clone()
        self._set(parameter, value)

    def _set(self, parameter: nn.Parameter, value: Tensor, moment: str | None = None) -> None:
        """Give DeepSpeed's optimiser its part of a whole weight, or of one of its moments."""
        from deepspeed import utils

        set_weight, set_moment = utils.safe_set_full_fp32_param, utils.safe_set_full_optimizer_state
        if self.stage == 3:
            # Its setters of whole tensors fail where the processes do not share them evenly, so the part is cut here.
            set_weight, set_moment = utils.safe_set_local_fp32_param, utils.safe_set_local_optimizer_state
            size = utils.safe_get_local_fp32_param(parameter).numel()
            padded = nn.functional.pad(value.flatten(), (0, size * self.accelerator.num_processes - value.numel()))
            value = padded.narrow(0, size * self.accelerator.process_index, size)
        if moment is None:
            set_weight(parameter, value)
        else:
            set_moment(parameter, value, moment)

    def _link_moments(self) -> None:
        """Tell DeepSpeed's parameters of stages 1 and 2 where their moments lie.

        It does so by itself in the first update, but before the moments of any group but the first exist.
        """
        if self.stage < 3:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def _partitions(self) -> list[Tensor]:
        """The flat tensors that the optimiser steps on."""
        flat: list[Tensor] = (
            self.zero.fp32_partitioned_groups_flat if self.stage == 3 else self.zero.single_partition_of_fp32_groups
        )
        return flat

    def _autocast_inside(self, model: nn.Module) -> None:
        """DeepSpeed switches off an autocast that was opened around it, so it is opened within."""
        forward, device, precision = model.forward, self.accelerator.device, self.settings.precision

        def forward_in_precision(batch: Batch) -> dict[str, Tensor]:
            with autocast(device, precision):
                losses: dict[str, Tensor] = forward(batch)
            return losses

        model.forward = forward_in_precision


def _gather_what_is_read_from_outside(model: nn.Module) -> None:
    """Stage 3 gathers the weights of a module when that is called; `RayEmbedding` reads those of its first child."""
    import deepspeed

    for module in model.modules():
        if isinstance(module, RayEmbedding):
            for parameter in module[0].parameters():
                deepspeed.zero.register_external_parameter(module, parameter)


def shape_of(parameter: nn.Parameter) -> torch.Size:
    """Of the whole parameter; ZeRO-3 leaves an empty tensor in its place."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape
