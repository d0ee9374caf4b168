"""What a run is going to do, for the log and `--dry-run`."""

from __future__ import annotations

import logging

from aqr_train.trainer import Trainer

logger = logging.getLogger(__name__)


def describe_plan(trainer: Trainer) -> list[str]:
    """Processes, effective batch, length, changes of the pipeline, schedule and the group table, as lines of text.

    A change of the pipeline that lies beyond the end of the run is a warning in the log.
    """
    accelerator, settings, data = trainer.accelerator, trainer.settings, trainer.data
    world, total = accelerator.num_processes, trainer.schedule.total_steps
    lines = [
        f"processes         {world} ({trainer.engine.kind}, {accelerator.device.type}), precision {settings.precision}",
        f"effective batch   {trainer.samples_per_step} = {data.batch_size} x {world} processes x {settings.accumulate} "
        "per update",
        f"length            {total} steps = {total / trainer.steps_per_epoch:.2f} epochs of "
        f"{trainer.steps_per_epoch} steps over {len(trainer.dataset)} samples",
        f"gradient clip     {settings.grad_clip}",
    ]
    lines += _describe_switches(trainer)
    base_lr = max(group["base_lr"] for group in trainer.engine.param_groups)
    for step in trainer.schedule.milestones():
        rate, beta = trainer.schedule.lr_factor(step), trainer.schedule.beta1_factor(step)
        lines.append(f"schedule          step {step:>7}: lr {base_lr * rate:.3e}, beta1 factor {beta:.4f}")
    groups = trainer.grouping.groups
    width = max(len(group.pattern) for group in groups)
    lines.append(f"{'group':<{width}}  tensors    numbers         lr      decay")
    for group in groups:
        rates = "    frozen" if group.frozen else f"{group.lr:10.2e} {group.weight_decay:10.2e}"
        lines.append(f"{group.pattern:<{width}}  {len(group.names):>7}  {group.size:>9}  {rates}")
    trainable = sum(group.size for group in groups if not group.frozen)
    everything = sum(group.size for group in groups)
    lines.append(f"trainable         {trainable} of {everything} ({100 * trainable / everything:.1f} %)")
    return lines


def _describe_switches(trainer: Trainer) -> list[str]:
    lines = []
    total = trainer.schedule.total_steps
    # Only a dataset with a pipeline of steps knows switches.
    pipeline = getattr(trainer.dataset, "pipeline", None)
    for epoch, names in ({} if pipeline is None else pipeline.switches).items():
        step, without = epoch * trainer.steps_per_epoch, ", ".join(names)
        lines.append(f"data              from epoch {epoch} (step {step}): without {without}")
        if step >= total:
            logger.warning(
                "The run ends after %.2f epochs, so %s stays in to the end; it would be left out from epoch %d. "
                "Lower its until_epoch, or train longer.",
                total / trainer.steps_per_epoch,
                without,
                epoch,
            )
    return lines
