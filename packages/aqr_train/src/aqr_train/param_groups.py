"""Parameter groups by glob over full parameter names.

A rule is `pattern: dict(lr_mult=1.0, decay_mult=1.0, frozen=False, norm_eval=False)`. For each parameter the
longest matching pattern wins and replaces shorter ones whole; of equally long ones the last, so that a config that
adds a rule overrules its parent. Case counts. A tied parameter has several names, and any of them may match. A
pattern without any match is an error; one whose matches are all frozen by the model itself, buffers, or taken over by
other patterns is a warning.

What the model itself has frozen (`frozen_stages`) stays frozen, whatever the rule of its pattern says.

Frozen means no gradient, not in the optimiser, and every module whose parameters are all frozen in eval mode, so
that dropout is off and normalisation statistics stay as they are. `lr_mult=0` is that too, and says so. `norm_eval`
keeps the statistics of batch normalisations fixed while their weights train.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.optim import AdamW

from aqr_core.errors import ConfigError
from aqr_core.models.freezing import freeze_modules
from aqr_core.registry import suggest
from aqr_train.freezing.held import modules_within, norms_within

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
    if not isinstance(rules, Mapping):
        raise ConfigError(f"optimizer.param_groups is {rules!r}; give a dict of pattern: dict(lr_mult=0.1).")
    parsed = {pattern: _parse(pattern, settings) for pattern, settings in rules.items()}
    parameters = dict(model.named_parameters())
    names = _all_names(model)
    owner = {name: _winner(names[name], parsed) for name in parameters}
    given_frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    for pattern in parsed:
        matched = [name for name in parameters if _matches(names[name], pattern)]
        _check_effect(pattern, matched, [name for name in matched if owner[name] == pattern], given_frozen, model)

    groups: list[Group] = []
    for pattern in [*parsed, REST]:
        rule = parsed.get(pattern, Rule())
        owned = [name for name in parameters if owner[name] == pattern]
        for frozen in (False, True):
            part = tuple(name for name in owned if (rule.frozen or name in given_frozen) == frozen)
            if part:
                size = sum(parameters[name].numel() for name in part)
                rate, decay = (0.0, 0.0) if frozen else (lr * rule.lr_mult, weight_decay * rule.decay_mult)
                groups.append(Group(pattern, part, size, rate, decay, frozen))
    if all(group.frozen for group in groups):
        raise ConfigError("optimizer.param_groups freezes every parameter; leave at least one group trainable.")
    held = {name for group in groups if group.frozen for name in group.names}
    freeze_modules(model, [*modules_within(model, held), *sorted(held)])
    fixed = {name for name, pattern in owner.items() if parsed.get(pattern, Rule()).norm_eval}
    return Grouping(tuple(groups), tuple(norms_within(model, fixed)), betas)


def _parse(pattern: str, settings: object) -> Rule:
    what = f"optimizer.param_groups '{pattern}'"
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{what} is {settings!r}; give a dict such as dict(lr_mult=0.1) or dict(frozen=True).")
    known = [item.name for item in fields(Rule)]
    for key, value in settings.items():
        if key not in known:
            raise ConfigError(f"{what} has an unknown key '{key}'.{suggest(key, known)}")
        if key in ("frozen", "norm_eval"):
            if not isinstance(value, bool):
                raise ConfigError(f"{what}: {key} is {value!r}; write True or False.")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise ConfigError(f"{what}: {key} is {value!r}; it must be a number, 0 or more.")
    rule = Rule(**settings)
    if rule.lr_mult == 0 and not rule.frozen:
        logger.warning("%s: lr_mult=0 is treated as frozen=True.", what)
        return Rule(0.0, rule.decay_mult, frozen=True)
    return rule


def _all_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The name of each parameter -> all of its names; several where it is tied."""
    by_tensor: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        by_tensor.setdefault(id(parameter), []).append(name)
    return {names[0]: tuple(names) for names in by_tensor.values()}


def _matches(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _winner(names: Iterable[str], patterns: dict[str, Rule]) -> str:
    matching = [pattern for pattern in reversed(patterns) if _matches(names, pattern)]
    return max(matching, key=len, default=REST)  # the first of equally long ones, thus the last that was written


def _check_effect(pattern: str, matched: list[str], owned: list[str], given_frozen: set[str], model: nn.Module) -> None:
    """Refuse or warn about a pattern that changes nothing."""
    what = f"optimizer.param_groups '{pattern}'"
    if not matched:
        if not any(fnmatchcase(name, pattern) for name, _ in model.named_buffers()):
            raise ConfigError(f"{what} matches no parameter.{_near(pattern, dict(model.named_parameters()))}")
        logger.warning("%s matches buffers only, which do not train.", what)
    elif not owned:
        logger.warning("%s has no effect: longer or later patterns take all its matches.", what)
    elif given_frozen.issuperset(owned):
        logger.warning("%s matches frozen parameters only and has no effect: the model freezes them itself.", what)


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
