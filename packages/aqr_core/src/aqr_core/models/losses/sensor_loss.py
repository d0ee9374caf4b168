"""Optional supervision of AQR's weights by what is known about the sensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aqr_core.errors import ConfigError
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS


@MODELS.register_module()
@dataclass(frozen=True)
class SensorLoss:
    """Squared error of the query weights, scaled to [0, 1], against what the state of the sensors asks for.

    With u = (w - low) / (high - low), which is n for a neutral weight, and the state s (1 works, 0 failed) of a sensor
    and of the other one, the target is t = s_own (1 - s_other (1 - n)):

    | this sensor | the other | target |
    | --- | --- | --- |
    | works | works | n, neutral |
    | works | failed | 1, highest |
    | failed | either | 0, lowest |

    The loss is `loss_weight` times the mean of (u - t)^2 over samples, queries and both sensors.

    Attributes:
        loss_weight: factor of the term.
    """

    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.loss_weight > 0:
            raise ConfigError(
                f"SensorLoss.loss_weight is {self.loss_weight}; it must be above 0, or leave aqr_loss out."
            )

    def __call__(self, weights: Tensor, working: Tensor, weight_range: tuple[float, float, float]) -> Tensor:
        """Compute the term.

        Args:
            weights: (B, Q, 2) `[lidar, camera]`.
            working: (B, 2) bool per sample, or (B, Q, 2) per query where a failure is local: a blanked camera has
                failed for the queries that only it sees. B may be 1 for all samples.
            weight_range: lowest, neutral and highest weight.

        Returns:
            () loss.
        """
        low, neutral, high = weight_range
        scaled = (at_least_float32(weights) - low) / (high - low)
        state = working.to(scaled.dtype)
        target = state * (1 - state.flip(-1) * (high - neutral) / (high - low))
        if target.dim() == 2:
            target = target.unsqueeze(1)
        return self.loss_weight * (scaled - target).square().mean()
