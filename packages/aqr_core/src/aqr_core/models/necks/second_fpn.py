"""SECOND's pyramid: every scale is brought to one resolution and concatenated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.norm import build_norm
from aqr_core.models.staged import StagedModule
from aqr_core.registry import MODELS


@MODELS.register_module()
class SECONDFPN(StagedModule):
    """Up-sample each stage with a transposed convolution, then concatenate channels.

    Args:
        in_channels: channels per stage.
        out_channels: channels per stage after up-sampling.
        upsample_strides: factor per stage, >= 1.
        norm_cfg: normalisation of every stage.
        upsample_cfg: only `deconv`, with or without `bias`.
        use_conv_for_no_stride: a 1x1 convolution instead of a transposed one where the factor is 1.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; stage i is `deblocks.<i - 1>`, there is no stem.
            Recomputed is every stage.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (128, 128, 256),
        out_channels: Sequence[int] = (256, 256, 256),
        upsample_strides: Sequence[int] = (1, 2, 4),
        norm_cfg: Mapping[str, Any] | None = None,
        upsample_cfg: Mapping[str, Any] | None = None,
        use_conv_for_no_stride: bool = False,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        if not len(in_channels) == len(out_channels) == len(upsample_strides):
            raise ConfigError(
                "SECONDFPN's in_channels, out_channels and upsample_strides differ in length; give one per stage."
            )
        norm_cfg = norm_cfg or {"type": "BN", "eps": 1e-3, "momentum": 0.01}
        upsample_cfg = {"type": "deconv", "bias": False, **(upsample_cfg or {})}
        if upsample_cfg["type"] != "deconv":
            raise ConfigError(f"SECONDFPN upsample_cfg type '{upsample_cfg['type']}' is not supported; use 'deconv'.")
        bias = upsample_cfg["bias"]
        self.deblocks = nn.ModuleList()
        for channels, width, factor in zip(in_channels, out_channels, upsample_strides, strict=True):
            plain = factor == 1 and use_conv_for_no_stride
            layer = (nn.Conv2d if plain else nn.ConvTranspose2d)(channels, width, factor, factor, bias=bias)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            self.deblocks.append(nn.Sequential(layer, build_norm(norm_cfg, width), nn.ReLU(inplace=True)))
        self.set_stages(tuple(f"deblocks.{i}" for i in range(len(self.deblocks))))

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Per stage (B, in_channels[s], Y_s, X_s) -> (B, sum(out_channels), Y, X)."""
        maps = [self.run(deblock, stage) for deblock, stage in zip(self.deblocks, stages, strict=True)]
        return torch.cat(maps, dim=1)
