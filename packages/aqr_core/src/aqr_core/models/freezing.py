"""Frozen parts of a model: no gradient, and evaluation mode whatever `model.train()` says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import partial

from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest


def freeze_modules(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Freeze every module or parameter whose dotted name matches a glob ('*' also crosses dots).

    A matched module loses the gradient of all its parameters and stays in evaluation mode, so that neither dropout nor
    batch statistics change; a parameter matched by its own name only loses its gradient.

    Args:
        model: changed in place; freeze before it is wrapped for training.
        patterns: such as 'img_*' or 'pts_bbox_head.transformer'.

    Returns:
        Names of the parameters that are frozen now, sorted.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        matches = re.compile(translate(pattern)).match
        matched_modules = [name for name in modules if matches(name)]
        matched_parameters = [name for name in parameters if matches(name)]
        if not matched_modules and not matched_parameters:
            hint = suggest(pattern, [name for name, _ in model.named_children()])
            raise ConfigError(f"Nothing to freeze is called '{pattern}'.{hint}")
        for name in matched_modules:
            module = modules[name].requires_grad_(False)
            module.train = partial(_stay_in_eval, module)
            module.train()
        for name in matched_parameters:
            parameters[name].requires_grad_(False)
    return tuple(sorted(name for name, parameter in parameters.items() if not parameter.requires_grad))


def _stay_in_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Takes the place of `module.train`; `partial` keeps the module copyable and picklable."""
    return nn.Module.train(module, False)
