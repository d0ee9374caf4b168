"""Gradient checkpointing of a whole model: `train.gradient_checkpointing` over the `with_cp` of its parts."""

from __future__ import annotations

from torch import nn

from aqr_core.errors import ConfigError


def set_gradient_checkpointing(model: nn.Module, on: bool | None) -> list[str]:
    """Set `with_cp` of every part that has one; call it when the frozen parts are known.

    Args:
        model: changed in place.
        on: True or False for all parts; None leaves them as their configs say.

    Returns:
        dotted names of the parts that recompute. A frozen one does not: it keeps nothing that could be saved.

    Raises:
        ConfigError: recomputation is demanded of a model that has no such part.
    """
    parts = {name: part for name, part in model.named_modules() if isinstance(getattr(part, "with_cp", None), bool)}
    if on and not parts:
        raise ConfigError(
            "train.gradient_checkpointing is True, but no part of the model can recompute; set it to None."
        )
    if on is not None:
        for part in parts.values():
            part.with_cp = on
    return [name for name, part in parts.items() if part.with_cp and any(p.requires_grad for p in part.parameters())]
