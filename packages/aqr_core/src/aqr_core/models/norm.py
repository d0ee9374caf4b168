"""Batch normalisation from a config such as `dict(type='BN', eps=1e-3, momentum=0.01)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest


class RowBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over rows (V, C) that also stands fewer than two rows.

    A masked or empty sweep leaves one voxel or none; a variance cannot be estimated from it, so the running statistics
    are used and left as they are.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """(V, C) -> (V, C)."""
        if self.training and len(input) < 2:
            statistics = self.running_mean, self.running_var
            return nn.functional.batch_norm(input, *statistics, self.weight, self.bias, training=False, eps=self.eps)
        return super().forward(input)


_LAYERS = {"BN": nn.BatchNorm2d, "BN2d": nn.BatchNorm2d, "BN1d": RowBatchNorm, "SyncBN": nn.SyncBatchNorm}


def build_norm(cfg: Mapping[str, Any], channels: int) -> nn.Module:
    """One normalisation layer.

    Args:
        cfg: `type` (BN, BN1d, BN2d, SyncBN), optionally `eps`, `momentum`, `requires_grad` (default True).
        channels: C.

    Raises:
        ConfigError: unknown type or key.
    """
    settings = dict(cfg)
    name = settings.pop("type", None)
    requires_grad = settings.pop("requires_grad", True)
    if name not in _LAYERS:
        raise ConfigError(f"Unknown norm type '{name}'.{suggest(str(name), list(_LAYERS))}")
    unknown = set(settings) - {"eps", "momentum"}
    if unknown:
        raise ConfigError(f"norm_cfg does not take '{min(unknown)}'.{suggest(min(unknown), ['eps', 'momentum'])}")
    layer = _LAYERS[name](channels, **settings)
    return layer.requires_grad_(requires_grad)
