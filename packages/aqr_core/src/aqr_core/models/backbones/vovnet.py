"""VoVNetV2 image backbone with one-shot aggregation and eSE ("CenterMask", arXiv 1911.06667, section 3.4).

Parameter names are upstream's, slashes included: `stage4.OSA4_2.layers.0.OSA4_2_0/conv.weight`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aqr_core.errors import ConfigError
from aqr_core.models.staged import StagedModule
from aqr_core.registry import MODELS


class _Spec(NamedTuple):
    """Per stage: channels of a layer, channels of a block, number of blocks; and the layers of every block."""

    layer_channels: tuple[int, int, int, int]
    block_channels: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    layers: int = 5


_WIDE = ((128, 160, 192, 224), (256, 512, 768, 1024))
_STEM_CHANNELS = (64, 64, 128)
_SPECS = {
    "V-19-slim-eSE": _Spec((64, 80, 96, 112), (112, 256, 384, 512), (1, 1, 1, 1), layers=3),
    "V-39-eSE": _Spec(*_WIDE, blocks=(1, 1, 2, 2)),
    "V-57-eSE": _Spec(*_WIDE, blocks=(1, 1, 4, 3)),
    "V-99-eSE": _Spec(*_WIDE, blocks=(1, 3, 9, 3)),
}


def _conv(name: str, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> OrderedDict[str, nn.Module]:
    """Convolution, norm and ReLU under upstream's names."""
    return OrderedDict(
        {
            f"{name}/conv": nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
            f"{name}/norm": nn.BatchNorm2d(out_channels),
            f"{name}/relu": nn.ReLU(inplace=True),
        }
    )


class ChannelGate(nn.Module):
    """Effective squeeze-excitation: every channel times a hard sigmoid of the mean over the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * F.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))


class OneShotAggregation(nn.Module):
    """A chain of 3x3 convolutions whose outputs are concatenated once, mixed by a 1x1 convolution and gated.

    Args:
        name: prefix of the parameter names.
        in_channels: of the input.
        layer_channels: of each of the `layers` convolutions.
        out_channels: of the output.
        layers: length of the chain.
        residual: whether the input is added.
    """

    def __init__(
        self, name: str, in_channels: int, layer_channels: int, out_channels: int, layers: int, residual: bool
    ) -> None:
        super().__init__()
        self.residual = residual
        inputs = [in_channels] + [layer_channels] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.Sequential(_conv(f"{name}_{i}", channels, layer_channels, 3)) for i, channels in enumerate(inputs)
        )
        self.concat = nn.Sequential(_conv(f"{name}_concat", in_channels + layers * layer_channels, out_channels, 1))
        self.ese = ChannelGate(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        out = self.ese(self.concat(torch.cat(outputs, dim=1)))
        return out + x if self.residual else out


@MODELS.register_module()
class VoVNet(StagedModule):
    """VoVNetV2.

    Args:
        spec_name: 'V-99-eSE', 'V-57-eSE', 'V-39-eSE' or 'V-19-slim-eSE'.
        input_ch: image channels.
        out_features: which of 'stem' (stride 4), 'stage2' (4), 'stage3' (8), 'stage4' (16), 'stage5' (32) to return.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; the stem is `stem`, stage i is `stage<i + 1>`. Recomputed
            are the stem and every block.
    """

    def __init__(
        self,
        spec_name: str,
        input_ch: int = 3,
        out_features: Sequence[str] = ("stage4", "stage5"),
        frozen_stages: int = -1,
        norm_eval: bool = True,
        with_cp: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        if spec_name not in _SPECS:
            raise ConfigError(f"VoVNet spec_name '{spec_name}' does not exist; use one of {', '.join(_SPECS)}.")
        spec = _SPECS[spec_name]
        stages = tuple(f"stage{number}" for number in range(2, 6))
        unknown = set(out_features) - {"stem", *stages}
        if unknown or not out_features:
            raise ConfigError(f"VoVNet out_features {tuple(out_features)} must be among stem, stage2, ..., stage5.")
        self.out_features = frozenset(out_features)

        stem: OrderedDict[str, nn.Module] = OrderedDict()
        channels = input_ch
        for i, (width, stride) in enumerate(zip(_STEM_CHANNELS, (2, 1, 2), strict=True)):
            stem |= _conv(f"stem_{i + 1}", channels, width, 3, stride)
            channels = width
        self.stem = nn.Sequential(stem)
        for name, *shape in zip(stages, spec.layer_channels, spec.block_channels, spec.blocks, strict=True):
            layer_channels, out_channels, blocks = shape
            stage: OrderedDict[str, nn.Module] = OrderedDict()
            if name != "stage2":
                stage["Pooling"] = nn.MaxPool2d(3, 2, ceil_mode=True)
            for i in range(blocks):
                block = f"OSA{name[-1]}_{i + 1}"
                stage[block] = OneShotAggregation(block, channels, layer_channels, out_channels, spec.layers, i > 0)
                channels = out_channels
            self.add_module(name, nn.Sequential(stage))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.set_stages(stages, stem=("stem",))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, input_ch, H, W) -> one (B, C_i, H / stride_i, W / stride_i) per name in `out_features`, finest first."""
        x = self.run(self.stem, images.contiguous(memory_format=torch.channels_last))  # what tensor cores want
        outputs = [x] if "stem" in self.out_features else []
        for name in self.stages:
            for block in getattr(self, name):
                x = self.run(block, x)
            if name in self.out_features:
                outputs.append(x)
        return tuple(outputs)
