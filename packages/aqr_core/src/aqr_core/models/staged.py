"""What backbones, necks and the sparse encoder share: frozen stages, fixed statistics, recomputation in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from aqr_core.errors import ConfigError
from aqr_core.models.recompute import recompute

Part = TypeVar("Part", bound="StagedModule")


class StagedModule(nn.Module):
    """A stem, if any, and stages. A subclass builds them, calls `set_stages`, and sends features through `run`.

    Args:
        frozen_stages: -1 none; 0 the stem; i the stem and the first i stages: no gradient, evaluation mode, no graph.
        norm_eval: keep running statistics fixed in training. Pointless without pretrained weights, whose statistics it
            would keep: set it to False when training from nothing.
        with_cp: recompute what `run` is given in backward to save memory; the numbers are the same.
    """

    def __init__(self, frozen_stages: int, norm_eval: bool, with_cp: bool) -> None:
        super().__init__()
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.stem_modules: tuple[str, ...] = ()
        self.stages: tuple[str, ...] = ()

    def set_stages(self, stages: tuple[str, ...], stem: tuple[str, ...] = ()) -> None:
        """Dotted names of the modules that `frozen_stages` counts; then freeze, and enter training mode.

        Raises:
            ConfigError: there are fewer stages than are to be frozen.
        """
        frozen, most = self.frozen_stages, len(stages)
        if type(frozen) is not int or not -1 <= frozen <= most:
            raise ConfigError(
                f"{type(self).__name__} frozen_stages is {frozen!r}; give a whole number from -1 (nothing) to {most} "
                "(everything)."
            )
        self.stem_modules, self.stages = stem, stages
        for module in self.frozen_modules():
            module.requires_grad_(False)
        self.train()

    def frozen_modules(self) -> list[nn.Module]:
        """The modules that `frozen_stages` covers."""
        if self.frozen_stages < 0:
            return []
        return [self.get_submodule(name) for name in (*self.stem_modules, *self.stages[: self.frozen_stages])]

    def train(self: Part, mode: bool = True) -> Part:
        """Training mode, except for what `norm_eval` and `frozen_stages` keep in evaluation mode."""
        super().train(mode)
        for module in self.frozen_modules():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run(self, function: Callable[[Any], Any], x: Any, *parts: nn.Module, recomputes: bool = True) -> Any:  # noqa: ANN401
        """`function(x)`: without graph where nothing can learn from it, with `with_cp` without keeping activations.

        Args:
            function: a module, or a function of `parts`.
            x: a tensor, or a sparse tensor with `features`.
            parts: the modules that `function` uses; itself unless given.
            recomputes: whether it may run a second time.
        """
        used: tuple[Any, ...] = parts or (function,)
        learns = any(parameter.requires_grad for part in used for parameter in part.parameters())
        if not learns and not getattr(x, "features", x).requires_grad:
            with torch.no_grad():
                return function(x)
        if self.with_cp and recomputes and torch.is_grad_enabled():
            return recompute(function, x, of=used)
        return function(x)
