"""ResNet image backbone ("Deep Residual Learning for Image Recognition"), torchvision parameter names without `fc`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.norm import build_norm
from aqr_core.models.staged import StagedModule
from aqr_core.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; ResNet-18 and 34."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        style: str,
        norm_cfg: Mapping[str, Any],
        shortcut: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = build_norm(norm_cfg, width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = build_norm(norm_cfg, width)
        self.downsample = shortcut

    @property
    def last_norm(self) -> Any:  # noqa: ANN401 - any of the batch normalisations
        """The normalisation before the sum."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width * expansion, H / stride, W / stride)."""
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out))
        return (out + (x if self.downsample is None else self.downsample(x))).relu_()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions; ResNet-50 and deeper. Strided in the 3x3 ('pytorch') or the first 1x1 ('caffe')."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        style: str,
        norm_cfg: Mapping[str, Any],
        shortcut: nn.Module | None,
    ) -> None:
        super().__init__()
        stride1, stride2 = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride1, bias=False)
        self.bn1 = build_norm(norm_cfg, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride2, 1, bias=False)
        self.bn2 = build_norm(norm_cfg, width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = build_norm(norm_cfg, width * self.expansion)
        self.downsample = shortcut

    @property
    def last_norm(self) -> Any:  # noqa: ANN401 - any of the batch normalisations
        """The normalisation before the sum."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width * expansion, H / stride, W / stride)."""
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out)).relu_()
        out = self.bn3(self.conv3(out))
        return (out + (x if self.downsample is None else self.downsample(x))).relu_()


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module()
class ResNet(StagedModule):
    """Residual image backbone.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: image channels.
        base_channels: width of the first stage; 64 is the published network.
        num_stages: stages that are built, 1 to 4.
        out_indices: stages whose outputs are returned; stage i has stride 4 * 2**i.
        style: 'pytorch' (stride in the 3x3 convolution of a bottleneck) or 'caffe'.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; the stem is `conv1` and `bn1`, stage i is `layer<i>`.
            Recomputed are the stem and every block.
        norm_cfg: normalisation; `requires_grad=False` in it freezes its affine parameters.
        zero_init_residual: start every block as the identity.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        base_channels: int = 64,
        num_stages: int = 4,
        out_indices: Sequence[int] = (2, 3),
        style: str = "pytorch",
        frozen_stages: int = -1,
        norm_cfg: Mapping[str, Any] | None = None,
        norm_eval: bool = True,
        with_cp: bool = False,
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        if depth not in _ARCHITECTURES:
            raise ConfigError(f"ResNet depth {depth} does not exist; use one of {', '.join(map(str, _ARCHITECTURES))}.")
        if style not in ("pytorch", "caffe"):
            raise ConfigError(f"ResNet style '{style}' is unknown; use 'pytorch' or 'caffe'.")
        if not 1 <= num_stages <= 4 or not all(0 <= i < num_stages for i in out_indices):
            raise ConfigError(f"ResNet out_indices {tuple(out_indices)} do not fit {num_stages} stages; use 0 to 3.")
        block, repeats = _ARCHITECTURES[depth]
        norm_cfg = norm_cfg or {"type": "BN"}
        self.out_indices = tuple(out_indices)
        stages = tuple(f"layer{i + 1}" for i in range(num_stages))
        self.conv1 = nn.Conv2d(in_channels, base_channels, 7, 2, 3, bias=False)
        self.bn1 = build_norm(norm_cfg, base_channels)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = base_channels
        for i, name in enumerate(stages):
            width, stride = base_channels * 2**i, 1 if i == 0 else 2
            blocks = []
            for j in range(repeats[i]):
                stride_j = stride if j == 0 else 1
                shortcut = _shortcut(channels, width * block.expansion, stride_j, norm_cfg)
                blocks.append(block(channels, width, stride_j, style, norm_cfg, shortcut))
                channels = width * block.expansion
            self.add_module(name, nn.Sequential(*blocks))
        self._init_weights(zero_init_residual)
        self.set_stages(stages, stem=("conv1", "bn1"))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) -> one (B, C_i, H / 2**(i+2), W / 2**(i+2)) per index i of `out_indices`."""
        images = images.contiguous(memory_format=torch.channels_last)  # a fifth faster on CPU; what tensor cores want
        x = self.run(self._shrink, images, self.conv1, self.bn1)
        outputs = []
        for i, name in enumerate(self.stages):
            for block in getattr(self, name):
                x = self.run(block, x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def _shrink(self, images: Tensor) -> Tensor:
        """The stem: a quarter of the edge."""
        x: Tensor = self.maxpool(self.bn1(self.conv1(images)).relu_())
        return x

    def _init_weights(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                module.last_norm.weight.data.zero_()


def _shortcut(in_channels: int, out_channels: int, stride: int, norm_cfg: Mapping[str, Any]) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, build_norm(norm_cfg, out_channels))
