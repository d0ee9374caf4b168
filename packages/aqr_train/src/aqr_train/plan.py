"""What a run is going to do, for the log and `--dry-run`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from aqr_train.estimate.sharding import ModelSize, Sharding
from aqr_train.estimate.states import estimate_states
from aqr_train.gradient_checkpointing import recomputing_parts
from aqr_train.settings import OptimizerSettings
from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)
_MIB = 2**20


def describe_plan(trainer: Trainer, optimizer: OptimizerSettings) -> list[str]:
    """The plan as lines of text: processes, batch, rate, length, switches, schedule, memory, parameter groups.

    A switch that lies beyond the end of the run is a warning in the log.
    """
    return [
        *_work(trainer),
        *_rate(trainer, optimizer),
        *_switches(trainer),
        *_schedule(trainer),
        *_memory(trainer),
        *_groups(trainer),
    ]


def _work(trainer: Trainer) -> Iterator[str]:
    accelerator, settings, data = trainer.accelerator, trainer.settings, trainer.data
    world, total = accelerator.num_processes, trainer.schedule.total_steps
    yield (
        f"processes         {world} ({trainer.engine.kind}, {accelerator.device.type}), precision {settings.precision}"
    )
    yield (
        f"effective batch   {trainer.samples_per_step} = {data.batch_size} x {world} processes x {settings.accumulate} "
        "per update"
    )
    yield (
        f"length            {total} steps = {total / trainer.steps_per_epoch:.2f} epochs of "
        f"{trainer.steps_per_epoch} steps over {len(trainer.dataset)} samples"
    )
    yield f"gradient clip     {settings.grad_clip}"


def _rate(trainer: Trainer, optimizer: OptimizerSettings) -> Iterator[str]:
    if optimizer.base_batch_size is not None:
        scaled = optimizer.scaled_lr(trainer.samples_per_step)
        yield (
            f"rate              {scaled:.3e} = {optimizer.lr:.3e} for a batch of {optimizer.base_batch_size}, scaled "
            f"to {trainer.samples_per_step}"
        )
    if trainer.settings.ema is not None:
        yield f"average           of the weights, decay {trainer.settings.ema}; it is validated and published"


def _switches(trainer: Trainer) -> Iterator[str]:
    total = trainer.schedule.total_steps
    # Only a dataset with a pipeline of steps knows switches.
    pipeline = getattr(trainer.dataset, "pipeline", None)
    for epoch, names in ({} if pipeline is None else pipeline.switches).items():
        step, without = epoch * trainer.steps_per_epoch, ", ".join(names)
        yield f"data              from epoch {epoch} (step {step}): without {without}"
        if step >= total:
            logger.warning(
                "The run ends after %.2f epochs, so %s stays in to the end; it would be left out from epoch %d. "
                "Lower its until_epoch, or train longer.",
                total / trainer.steps_per_epoch,
                without,
                epoch,
            )
    renderer = getattr(getattr(trainer.plain_model, "pts_bbox_head", None), "weight_renderer", None)
    clamps = None if renderer is None else renderer.clamp_schedule
    for epoch, bound in () if clamps is None else clamps.steps:
        yield f"AQR maps          from epoch {epoch} (step {epoch * trainer.steps_per_epoch}): at most {bound}"


def _schedule(trainer: Trainer) -> Iterator[str]:
    base_lr: float = max(group["base_lr"] for group in trainer.engine.param_groups)
    for step in trainer.schedule.milestones():
        rate, beta = trainer.schedule.lr_factor(step), trainer.schedule.beta1_factor(step)
        yield f"schedule          step {step:>7}: lr {base_lr * rate:.3e}, beta1 factor {beta:.4f}"


def _memory(trainer: Trainer) -> Iterator[str]:
    size, sharding = ModelSize.of(trainer.plain_model), Sharding.of(trainer.engine)
    world, accumulate = trainer.accelerator.num_processes, trainer.settings.accumulate
    states = estimate_states(size, world, sharding, accumulate=accumulate)
    recomputing = recomputing_parts(trainer.plain_model)
    yield (
        f"memory            {states.device / _MIB:.0f} MiB per process for weights, gradients and moments, activations "
        "on top (aqr estimate)"
    )
    yield f"recomputed        {f'{len(recomputing)} parts in the backward pass' if recomputing else 'nothing'}"


def _groups(trainer: Trainer) -> Iterator[str]:
    groups = trainer.grouping.groups
    width = max(len(group.pattern) for group in groups)
    yield f"{'group':<{width}}  tensors    numbers         lr      decay"
    for group in groups:
        rates = "    frozen" if group.frozen else f"{group.lr:10.2e} {group.weight_decay:10.2e}"
        yield f"{group.pattern:<{width}}  {len(group.names):>7}  {group.size:>9}  {rates}"
    trainable = sum(group.size for group in groups if not group.frozen)
    everything = sum(group.size for group in groups)
    yield f"trainable         {trainable} of {everything} ({100 * trainable / everything:.1f} %)"
