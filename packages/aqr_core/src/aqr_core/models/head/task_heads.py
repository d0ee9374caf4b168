"""Task heads: small per-query networks, one per decoder layer, stored as grouped convolutions over all layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aqr_core.registry import MODELS


class LayerwiseConv1d(nn.Module):
    """`Conv1d(groups=L)` over the query axis, applied as one batched product: layer l has its own weights.

    Args:
        layers: decoder layers L.
        in_channels: per layer.
        out_channels: per layer.
        kernel_size: along the query axis, odd. Above 1 neighbouring queries mix (upstream's LiDAR-only config), in
            training also the last denoising slot and the first matching query.
        bias: whether a bias is added.
    """

    def __init__(self, layers: int, in_channels: int, out_channels: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.layers = layers
        self.kernel_size = kernel_size
        self.weight = nn.Parameter(torch.empty(layers * out_channels, in_channels, kernel_size))
        self.bias = nn.Parameter(torch.zeros(layers * out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5) if bias else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, Q, in) -> (L, B, Q, out)."""
        weight = self.weight.unflatten(0, (self.layers, -1)).flatten(2)  # (L, out, in * kernel)
        if self.kernel_size > 1:
            side = self.kernel_size // 2
            x = F.pad(x, (0, 0, side, side)).unfold(2, self.kernel_size, 1).flatten(3)  # (L, B, Q, in * kernel)
        shape = x.shape
        flat = x.flatten(1, 2)
        if self.bias is None:
            out = torch.bmm(flat, weight.mT)
        else:
            out = torch.baddbmm(self.bias.view(self.layers, 1, -1), flat, weight.mT)
        return out.unflatten(1, shape[1:3])


class GroupLayerNorm1d(nn.Module):
    """Layer normalisation over the channels of each decoder layer, with that layer's own scale and shift."""

    def __init__(self, channels: int, layers: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.layers = layers
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(layers * channels))
        self.bias = nn.Parameter(torch.zeros(layers * channels))

    def forward(self, x: Tensor) -> Tensor:
        """(L, B, Q, c) -> (L, B, Q, c)."""
        normed = F.layer_norm(x, x.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias.view(self.layers, 1, 1, -1), normed, self.weight.view(self.layers, 1, 1, -1))


@MODELS.register_module()
class SeparateTaskHead(nn.Module):
    """One branch per quantity: convolution, norm and ReLU `n - 1` times, then the final convolution.

    Args:
        in_channels: channels of a query.
        heads: name -> (output channels, number of convolutions).
        groups: decoder layers L.
        head_conv: channels between the convolutions.
        final_kernel: kernel of every convolution, along the query axis, see `LayerwiseConv1d`.
        init_bias: of the class logits; -2.19 is a prior of 0.1.
    """

    def __init__(
        self,
        in_channels: int,
        heads: Mapping[str, Sequence[int]],
        groups: int,
        head_conv: int = 64,
        final_kernel: int = 1,
        init_bias: float = -2.19,
    ) -> None:
        super().__init__()
        self.heads = tuple(heads)
        for name, (out_channels, num_conv) in heads.items():
            branch: list[nn.Module] = []
            channels = in_channels
            for _ in range(num_conv - 1):
                branch += [
                    LayerwiseConv1d(groups, channels, head_conv, final_kernel, bias=False),
                    GroupLayerNorm1d(head_conv, groups),
                    nn.ReLU(inplace=True),
                ]
                channels = head_conv
            branch.append(LayerwiseConv1d(groups, channels, out_channels, final_kernel, bias=True))
            self.add_module(name, nn.Sequential(*branch))
            if name == "cls_logits":
                nn.init.constant_(branch[-1].bias, init_bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(L, B, Q, C) -> name -> (L, B, Q, c)."""
        return {name: getattr(self, name)(x) for name in self.heads}
