"""Gradient checkpointing of a whole model: `train.gradient_checkpointing` over the `with_cp` of its parts."""

from __future__ import annotations

from typing import Any

from torch import nn

from aqr_core.errors import ConfigError


def set_gradient_checkpointing(model: nn.Module, on: bool | None) -> None:
    """Set `with_cp` of every part that has one.

    Args:
        model: changed in place.
        on: True or False for all parts; None leaves them as their configs say.

    Raises:
        ConfigError: recomputation is demanded of a model that has no such part.
    """
    parts = _parts(model)
    if on and not parts:
        raise ConfigError(
            "train.gradient_checkpointing is True, but no part of the model can recompute; set it to None."
        )
    if on is not None:
        for part in parts.values():
            part.with_cp = on


def recomputing_parts(model: nn.Module) -> list[str]:
    """Dotted names of the parts that recompute; a frozen one does not: it keeps nothing that could be saved."""
    return [
        name
        for name, part in _parts(model).items()
        if part.with_cp and any(parameter.requires_grad for parameter in part.parameters())
    ]


def _parts(model: nn.Module) -> dict[str, Any]:
    return {name: part for name, part in model.named_modules() if isinstance(getattr(part, "with_cp", None), bool)}
