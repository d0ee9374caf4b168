"""What a run is going to do, for the log and `--dry-run`."""

from __future__ import annotations

from aqr_train.trainer import Trainer


def describe_plan(trainer: Trainer) -> list[str]:
    """Processes, effective batch, length, schedule and the group table, as lines of text."""
    accelerator, settings, data = trainer.accelerator, trainer.settings, trainer.data
    world, total = accelerator.num_processes, trainer.schedule.total_steps
    lines = [
        f"processes         {world} ({accelerator.distributed_type.value}, {accelerator.device.type}), "
        f"precision {settings.precision}",
        f"effective batch   {data.batch_size * world} = {data.batch_size} x {world}",
        f"length            {total} steps = {total / trainer.steps_per_epoch:.2f} epochs of "
        f"{trainer.steps_per_epoch} steps over {len(trainer.dataset)} samples",
        f"gradient clip     {settings.grad_clip}",
    ]
    base_lr = max(group["base_lr"] for group in trainer.optimizer.param_groups)
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
