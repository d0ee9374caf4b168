"""What the image backbones share: parts that stay frozen in training, and recomputation in backward."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

Backbone = TypeVar("Backbone", bound="ImageBackbone")


class ImageBackbone(nn.Module):
    """A stem and stages; a subclass builds them, names them in `stem_modules` and `stages`, then calls `freeze`.

    Args:
        frozen_stages: -1 none; 0 the stem; i the stem and the first i stages: no gradient, evaluation mode.
        norm_eval: keep running statistics fixed in training. Pointless without pretrained weights, whose statistics it
            would keep: set it to False when training from nothing.
        with_cp: recompute each block in backward to save memory. With `norm_eval=False` the running statistics then
            move twice per step, as everywhere with checkpointing.
    """

    def __init__(self, frozen_stages: int, norm_eval: bool, with_cp: bool) -> None:
        super().__init__()
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.stem_modules: tuple[str, ...] = ()
        self.stages: tuple[str, ...] = ()

    def freeze(self) -> None:
        """Take the gradient from what is frozen, and enter training mode."""
        for module in self.frozen_modules():
            module.requires_grad_(False)
        self.train()

    def frozen_modules(self) -> list[nn.Module]:
        """The children that `frozen_stages` covers."""
        if self.frozen_stages < 0:
            return []
        return [getattr(self, name) for name in (*self.stem_modules, *self.stages[: self.frozen_stages])]

    def train(self: Backbone, mode: bool = True) -> Backbone:
        """Training mode, except for what `norm_eval` and `frozen_stages` keep in evaluation mode."""
        super().train(mode)
        for module in self.frozen_modules():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        """Apply a block, with `with_cp` without keeping its activations."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)
