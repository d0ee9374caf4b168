"""Sigmoid focal loss and the L1 loss, as configs name them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from aqr_core.errors import ConfigError
from aqr_core.registry import MODELS


@MODELS.register_module()
@dataclass(frozen=True)
class FocalLoss:
    """Focal loss on independent sigmoids (Lin et al., 2017, equation 5).

    Attributes:
        use_sigmoid: only True exists.
        gamma: exponent of the focusing factor.
        alpha: weight of positives, 1 - alpha of negatives.
        reduction: only 'mean' exists; the criterion gives the average factor.
        loss_weight: factor of the term.
    """

    use_sigmoid: bool = True
    gamma: float = 2.0
    alpha: float = 0.25
    reduction: str = "mean"
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.use_sigmoid or self.reduction != "mean":
            raise ConfigError(
                f"FocalLoss got use_sigmoid={self.use_sigmoid}, reduction={self.reduction!r}; "
                "only use_sigmoid=True with reduction='mean' exists."
            )

    def elementwise(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(..., K) logits and (...) labels, K meaning background -> (..., K) weighted loss."""
        classes = logits.shape[-1]
        target = F.one_hot(labels, classes + 1)[..., :classes].to(logits.dtype)
        p = logits.sigmoid()
        miss = p + target - 2 * p * target  # 1 - p where the target is 1, else p
        weight = (1 - self.alpha + (2 * self.alpha - 1) * target) * miss**self.gamma
        return self.loss_weight * weight * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


@MODELS.register_module()
@dataclass(frozen=True)
class L1Loss:
    """Absolute error; the criterion gives code weights and the average factor."""

    reduction: str = "mean"
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.reduction != "mean":
            raise ConfigError(f"L1Loss got reduction={self.reduction!r}; only 'mean' exists.")

    def elementwise(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(..., D) twice -> (..., D) weighted loss."""
        return self.loss_weight * (prediction - target).abs()
