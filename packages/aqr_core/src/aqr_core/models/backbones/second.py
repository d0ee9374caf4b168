"""SECOND's 2-D backbone over the bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.norm import build_norm
from aqr_core.models.staged import StagedModule
from aqr_core.registry import MODELS


@MODELS.register_module()
class SECOND(StagedModule):
    """Stages of 3x3 convolutions, each starting with a strided one.

    Args:
        in_channels: C of the map.
        out_channels: channels per stage.
        layer_nums: convolutions per stage after the strided one.
        layer_strides: stride of each stage's first convolution.
        norm_cfg: normalisation of every convolution.
        conv_cfg: only `Conv2d`, with or without `bias`.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; stage i is `blocks.<i - 1>`, there is no stem. Recomputed
            is every stage.
    """

    def __init__(
        self,
        in_channels: int = 128,
        out_channels: Sequence[int] = (128, 128, 256),
        layer_nums: Sequence[int] = (3, 5, 5),
        layer_strides: Sequence[int] = (2, 2, 2),
        norm_cfg: Mapping[str, Any] | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        if not len(out_channels) == len(layer_nums) == len(layer_strides):
            raise ConfigError("SECOND's out_channels, layer_nums, layer_strides differ in length; give one per stage.")
        norm_cfg = norm_cfg or {"type": "BN", "eps": 1e-3, "momentum": 0.01}
        conv_cfg = {"type": "Conv2d", "bias": False, **(conv_cfg or {})}
        if conv_cfg["type"] != "Conv2d":
            raise ConfigError(f"SECOND conv_cfg type '{conv_cfg['type']}' is not supported; use 'Conv2d'.")
        bias = conv_cfg["bias"]
        self.blocks = nn.ModuleList()
        for width, repeats, stride in zip(out_channels, layer_nums, layer_strides, strict=True):
            layers: list[nn.Module] = []
            for i in range(1 + repeats):
                conv = nn.Conv2d(in_channels, width, 3, stride if i == 0 else 1, 1, bias=bias)
                layers += [conv, build_norm(norm_cfg, width), nn.ReLU(inplace=True)]
                in_channels = width
            self.blocks.append(nn.Sequential(*layers))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.set_stages(tuple(f"blocks.{i}" for i in range(len(self.blocks))))

    def forward(self, bev: Tensor) -> tuple[Tensor, ...]:
        """(B, C, Y, X) -> one (B, out_channels[s], Y_s, X_s) per stage."""
        outputs = []
        for block in self.blocks:
            bev = self.run(block, bev)
            outputs.append(bev)
        return tuple(outputs)
