"""Parameter groups by glob over full parameter names.

A rule is `pattern: dict(lr_mult=1.0, decay_mult=1.0, frozen=False, norm_eval=False)`. For each parameter the
longest matching pattern wins and replaces shorter ones whole. A pattern without any match is an error; one
whose matches are all frozen by the model itself, buffers, or taken over by longer patterns is a warning.

Frozen means no gradient, not in the optimiser, and every module whose parameters are all frozen in eval mode, so
that dropout is off and normalisation statistics stay as they are. `lr_mult=0` is that too, and says so. `norm_eval`
keeps the statistics of batch normalisations fixed while their weights train.
"""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import AdamW

from aqr_core.errors import ConfigError
from aqr_core.models.freezing import freeze_modules
from aqr_core.registry import suggest

logger = logging.getLogger(__name__)
REST = "(all others)"


@dataclass(frozen=True)
class Rule:
    """Settings of one pattern, as multiples of the optimiser's own values."""

    lr_mult: float = 1.0
    decay_mult: float = 1.0
    frozen: bool = False
    norm_eval: bool = False


@dataclass(frozen=True)
class Group:
    """One row of the group table.

    Attributes:
        pattern: the glob, or `(all others)`.
        names: full names of its parameters.
        size: numbers in them.
        lr, weight_decay: at schedule factor 1; both 0 where frozen.
        frozen: whether it trains.
    """

    pattern: str
    names: tuple[str, ...]
    size: int
    lr: float
    weight_decay: float
    frozen: bool


@dataclass(frozen=True)
class Grouping:
    """What training does with each part of the model.

    Attributes:
        groups: the table, frozen groups included.
        norm_eval: normalisations that keep their statistics while the rest trains.
        betas: of AdamW.
    """

    groups: tuple[Group, ...]
    norm_eval: tuple[nn.Module, ...]
    betas: tuple[float, float] = (0.9, 0.999)

    @property
    def frozen_names(self) -> set[str]:
        """Full names of the parameters that do not train."""
        return {name for group in self.groups if group.frozen for name in group.names}

    def make_optimizer(self, model: nn.Module) -> AdamW:
        """AdamW over the trainable groups; `base_lr` and `base_beta1` are what the schedule scales.

        Args:
            model: the one that was grouped, or the same with its parameters sharded.
        """
        parameters = dict(model.named_parameters())
        groups = [
            {
                "params": [parameters[name] for name in group.names],
                "lr": group.lr,
                "base_lr": group.lr,
                "base_beta1": self.betas[0],
                "weight_decay": group.weight_decay,
                "name": group.pattern,
            }
            for group in self.groups
            if not group.frozen
        ]
        return AdamW(groups, betas=self.betas)

    def train_mode(self, model: nn.Module) -> None:
        """Train mode everywhere but in `norm_eval`; frozen modules refuse it by themselves."""
        model.train()
        for module in self.norm_eval:
            module.eval()


def build_grouping(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    rules: Mapping[str, Mapping[str, Any]],
    betas: tuple[float, float] = (0.9, 0.999),
) -> Grouping:
    """Assign every parameter to one group and switch off the gradients of the frozen ones.

    Raises:
        ConfigError: a pattern that matches nothing, an unknown setting, or nothing left to train.
    """
    parsed = {pattern: _parse(pattern, settings) for pattern, settings in rules.items()}
    parameters = dict(model.named_parameters())
    owner = {name: _longest_match(name, parsed) for name in parameters}
    given_frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}

    for pattern, rule in parsed.items():
        matched = fnmatch.filter(parameters, pattern)
        if not matched and fnmatch.filter((name for name, _ in model.named_buffers()), pattern):
            logger.warning("optimizer.param_groups '%s' matches buffers only, which do not train.", pattern)
            continue
        if not matched:
            raise ConfigError(f"optimizer.param_groups '{pattern}' matches no parameter.{_near(pattern, parameters)}")
        if not any(owner[name] == pattern for name in matched):
            logger.warning("optimizer.param_groups '%s' has no effect: longer patterns take all its matches.", pattern)
        elif not rule.frozen and all(name in given_frozen for name in matched):
            logger.warning("optimizer.param_groups '%s' matches frozen parameters only and has no effect.", pattern)

    groups: list[Group] = []
    for pattern in [*parsed, REST]:
        rule = parsed.get(pattern, Rule())
        names = [name for name in parameters if owner[name] == pattern]
        for frozen in (False, True):
            part = tuple(name for name in names if (rule.frozen or name in given_frozen) == frozen)
            if part:
                size = sum(parameters[name].numel() for name in part)
                rate, decay = (0.0, 0.0) if frozen else (lr * rule.lr_mult, weight_decay * rule.decay_mult)
                groups.append(Group(pattern, part, size, rate, decay, frozen))
    if all(group.frozen for group in groups):
        raise ConfigError("optimizer.param_groups freezes every parameter; leave at least one group trainable.")
    held = {name for group in groups if group.frozen for name in group.names}
    freeze_modules(model, [*_frozen_modules(model, held), *sorted(held)])
    fixed = {name for name, pattern in owner.items() if parsed.get(pattern, Rule()).norm_eval}
    return Grouping(tuple(groups), _fixed_norms(model, fixed), betas)


def _parse(pattern: str, settings: Mapping[str, Any]) -> Rule:
    known = [item.name for item in fields(Rule)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"optimizer.param_groups '{pattern}' has an unknown key '{key}'.{suggest(key, known)}")
    rule = Rule(**settings)
    if rule.lr_mult < 0 or rule.decay_mult < 0:
        raise ConfigError(f"optimizer.param_groups '{pattern}': lr_mult and decay_mult must be 0 or more, got {rule}.")
    if rule.lr_mult == 0 and not rule.frozen:
        logger.warning("optimizer.param_groups '%s': lr_mult=0 is treated as frozen=True.", pattern)
        return Rule(0.0, rule.decay_mult, frozen=True)
    return rule


def _longest_match(name: str, patterns: Mapping[str, Rule]) -> str:
    matching = [pattern for pattern in patterns if fnmatch.fnmatchcase(name, pattern)]
    return max(matching, key=len, default=REST)


def _near(pattern: str, parameters: Mapping[str, nn.Parameter]) -> str:
    """' Did you mean ...?' among all module paths of the model, written as globs."""
    paths: dict[str, None] = {}
    for name in parameters:
        parts = name.split(".")
        paths |= {".".join(parts[:depth]) + ".*": None for depth in range(1, len(parts))} | {name: None}
    near = difflib.get_close_matches(pattern, list(paths), n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(repr(item) for item in near)}?"
    return f" The model's parts: {', '.join(sorted({name.split('.')[0] for name in parameters}))}."


def _frozen_modules(model: nn.Module, frozen: set[str]) -> list[str]:
    """Names of the modules whose parameters, one or more, are all frozen."""
    below = {
        prefix: [f"{prefix}.{name}" for name, _ in module.named_parameters()]
        for prefix, module in model.named_modules()
        if prefix
    }
    return [prefix for prefix, names in below.items() if names and frozen.issuperset(names)]


def _fixed_norms(model: nn.Module, fixed: set[str]) -> tuple[nn.Module, ...]:
    """Batch normalisations whose parameters are all in `fixed`."""
    return tuple(
        module
        for prefix, module in model.named_modules()
        if isinstance(module, _NormBase)
        and fixed.issuperset(f"{prefix}.{name}" for name, _ in module.named_parameters())
        and any(True for _ in module.parameters())
    )
