"""Feature pyramid that convolves its finest level alone: the head reads no other."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from aqr_core.errors import ConfigError
from aqr_core.models.staged import StagedModule
from aqr_core.registry import MODELS


class _Conv(nn.Module):
    """A convolution under the name `conv`, as in the official parameter names."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@MODELS.register_module()
class CPFPN(StagedModule):
    """out[0] = conv3x3(lateral[0] + up(lateral[1] + ...)); coarser outputs are the summed laterals themselves.

    Args:
        in_channels: channels per level, finest first.
        out_channels: C.
        num_outs: levels returned; at most one per input.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; stage i is `lateral_convs.<i - 1>`, the last one
            `fpn_convs.0`, there is no stem. Without norms and activations neither `norm_eval` nor `with_cp` changes
            anything: a convolution keeps its input alone.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        if not 1 <= num_outs <= len(in_channels):
            raise ConfigError(f"CPFPN num_outs={num_outs} does not fit {len(in_channels)} levels; use at most that.")
        self.num_outs = num_outs
        self.lateral_convs = nn.ModuleList(_Conv(channels, out_channels, 1) for channels in in_channels)
        self.fpn_convs = nn.ModuleList([_Conv(out_channels, out_channels, 3)])
        laterals = tuple(f"lateral_convs.{level}" for level in range(len(in_channels)))
        self.set_stages((*laterals, "fpn_convs.0"))

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Per level (B, in_channels[l], H_l, W_l) -> `num_outs` maps (B, C, H_l, W_l)."""
        maps = [self.run(lateral, level) for lateral, level in zip(self.lateral_convs, levels, strict=True)]
        for fine in reversed(range(len(maps) - 1)):
            maps[fine] = maps[fine] + interpolate(maps[fine + 1], size=maps[fine].shape[-2:], mode="nearest")
        maps[0] = self.run(self.fpn_convs[0], maps[0])
        return tuple(maps[: self.num_outs])
