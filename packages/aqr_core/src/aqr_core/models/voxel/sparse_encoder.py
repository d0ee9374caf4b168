"""The 3-D LiDAR encoder: voxel features -> sparse residual stages -> a dense bird's-eye-view map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.norm import build_norm
from aqr_core.models.staged import StagedModule
from aqr_core.models.voxel import spconv_backend
from aqr_core.models.voxel.sparse_conv import SparseConv3d, SubMConv3d
from aqr_core.models.voxel.sparse_tensor import SparseTensor
from aqr_core.registry import MODELS

_NORM = {"type": "BN1d", "eps": 1e-3, "momentum": 0.01}


class SparseSequential(nn.Sequential):
    """A sequence in which sparse layers see the tensor and all other layers see its features (V, C)."""

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Apply every layer in turn."""
        for layer in self:
            if isinstance(layer, (SubMConv3d, SparseConv3d, SparseBasicBlock, SparseSequential)):
                x = layer(x)
            else:
                x = x.replace_feature(layer(x.features))
        return x


class SparseBasicBlock(nn.Module):
    """Two submanifold 3x3x3 convolutions with a shortcut: relu(bn2(conv2(relu(bn1(conv1 x)))) + x)."""

    def __init__(self, channels: int, norm_cfg: Mapping[str, Any], indice_key: str) -> None:
        super().__init__()
        self.conv1 = SubMConv3d(channels, channels, 3, padding=1, indice_key=indice_key)
        self.bn1 = build_norm(norm_cfg, channels)
        self.conv2 = SubMConv3d(channels, channels, 3, padding=1, indice_key=indice_key)
        self.bn2 = build_norm(norm_cfg, channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Features (V, C) -> (V, C)."""
        out = self.conv1(x)
        out = self.conv2(out.replace_feature(self.bn1(out.features).relu_()))
        return out.replace_feature((self.bn2(out.features) + x.features).relu_())


@MODELS.register_module()
class SparseEncoder(StagedModule):
    """Sparse residual encoder of SECOND as CMT configures it (block_type 'basicblock', order conv-norm-act).

    Args:
        in_channels: channels of a voxel's feature.
        sparse_shape: grid (Z, Y, X) in cells; Z is one more than the voxel grid's, as upstream.
        output_channels: channels of the last convolution; the map has that times its remaining depth.
        base_channels: channels after the first convolution.
        encoder_channels: per stage, channels of its blocks; the last entry of every stage but the last is the output of
            the stride-2 convolution that ends it.
        encoder_paddings: per stage, one padding per entry of `encoder_channels`; only that of the stride-2
            convolution matters (an int, or z, y, x).
        order: only ('conv', 'norm', 'act').
        block_type: only 'basicblock'.
        norm_cfg: normalisation of every layer.
        backend: 'auto' (spconv on CUDA where installed, else our own), 'torch', or 'spconv' (its kernels on CUDA, its
            search for pairs on a CPU). The numbers are the same.
        frozen_stages, norm_eval, with_cp: see `StagedModule`; the stem is `conv_input`, stage i is `encoder_layer<i>`,
            the last one is `conv_out`. Recomputed is every residual block. A strided convolution is not: a second run
            could number its output sites in another order (spconv's on CUDA does).
    """

    def __init__(
        self,
        in_channels: int,
        sparse_shape: Sequence[int],
        output_channels: int = 128,
        base_channels: int = 16,
        encoder_channels: Sequence[Sequence[int]] = ((16,), (32, 32, 32), (64, 64, 64), (64, 64, 64)),
        encoder_paddings: Sequence[Sequence[Any]] = ((1,), (1, 1, 1), (1, 1, 1), ((0, 1, 1), 1, 1)),
        order: Sequence[str] = ("conv", "norm", "act"),
        block_type: str = "basicblock",
        norm_cfg: Mapping[str, Any] | None = None,
        backend: str = "auto",
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, with_cp)
        _check(sparse_shape, encoder_channels, encoder_paddings, order, block_type, backend)
        norm_cfg = norm_cfg or _NORM
        depth, height, width = sparse_shape
        self.sparse_shape = depth, height, width
        self.backend = backend
        self.conv_input = _conv_norm_act(
            SubMConv3d(in_channels, base_channels, 3, padding=1, indice_key="subm1"), norm_cfg
        )
        self.encoder_layers = SparseSequential()
        channels = base_channels
        for stage, (widths, paddings) in enumerate(zip(encoder_channels, encoder_paddings, strict=True), start=1):
            ends_with_stride = stage < len(encoder_channels)
            layers: list[nn.Module] = []
            for index, width in enumerate(widths):
                if ends_with_stride and index == len(widths) - 1:
                    conv = SparseConv3d(channels, width, 3, 2, paddings[index], indice_key=f"spconv{stage}")
                    layers.append(_conv_norm_act(conv, norm_cfg))
                elif width != channels:
                    raise ConfigError(
                        f"encoder_channels stage {stage} asks a residual block to turn {channels} channels into "
                        f"{width}; give its blocks {channels} channels."
                    )
                else:
                    layers.append(SparseBasicBlock(width, norm_cfg, indice_key=f"subm{stage}"))
                channels = width
            self.encoder_layers.add_module(f"encoder_layer{stage}", SparseSequential(*layers))
        conv_out = SparseConv3d(channels, output_channels, (3, 1, 1), (2, 1, 1), 0, indice_key="spconv_down2")
        self.conv_out = _conv_norm_act(conv_out, norm_cfg)
        stages = tuple(f"encoder_layers.{name}" for name, _ in self.encoder_layers.named_children())
        self.set_stages((*stages, "conv_out"), stem=("conv_input",))

    def forward(self, voxel_features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
        """Encode a batch.

        Computes in the precision of its weights (float32) also under autocast, as upstream does.

        Args:
            voxel_features: (V, in_channels).
            coords: (V, 4) b, z, y, x. Voxels beyond `sparse_shape` are dropped: upstream's 1024 grid over 1080 cells
                lets them alias into wrong cells instead (reference: CMT voxel0100 config).
            batch_size: B; a sample may have no voxel at all.

        Returns:
            (B, output_channels * Z', Y', X') with channel index c * Z' + z.
        """
        limit = coords.new_tensor(self.sparse_shape)
        inside = (coords[:, 1:] < limit).all(dim=1)
        features, coords = voxel_features[inside].to(next(self.parameters()).dtype), coords[inside]
        device = features.device.type
        backend = spconv_backend.choose_backend(self.backend, device, features.dtype)
        with torch.autocast(device, enabled=False):
            x = spconv_backend.sparse_tensor(features, coords, self.sparse_shape, batch_size, backend)
            layers = (layer for stage in self.encoder_layers.children() for layer in stage.children())
            for layer in (self.conv_input, *layers, self.conv_out):
                x = self.run(layer, x, recomputes=isinstance(layer, SparseBasicBlock))
            return spconv_backend.dense(x).flatten(1, 2)  # (B, C, Z', Y', X') -> (B, C * Z', Y', X')


def _conv_norm_act(conv: SubMConv3d | SparseConv3d, norm_cfg: Mapping[str, Any]) -> SparseSequential:
    return SparseSequential(conv, build_norm(norm_cfg, conv.out_channels), nn.ReLU(inplace=True))


def _check(
    sparse_shape: Sequence[int],
    encoder_channels: Sequence[Sequence[int]],
    encoder_paddings: Sequence[Sequence[Any]],
    order: Sequence[str],
    block_type: str,
    backend: str,
) -> None:
    if len(sparse_shape) != 3:
        raise ConfigError(f"sparse_shape is (Z, Y, X), got {tuple(sparse_shape)}; give three numbers.")
    if [len(stage) for stage in encoder_channels] != [len(stage) for stage in encoder_paddings]:
        raise ConfigError("encoder_channels and encoder_paddings differ in length; give one padding per layer.")
    if tuple(order) != ("conv", "norm", "act"):
        raise ConfigError(f"SparseEncoder order {tuple(order)} is not supported; use ('conv', 'norm', 'act').")
    if block_type != "basicblock":
        raise ConfigError(f"SparseEncoder block_type '{block_type}' is not supported; use 'basicblock'.")
    if backend not in spconv_backend.BACKENDS:
        known = ", ".join(spconv_backend.BACKENDS)
        raise ConfigError(f"Unknown SparseEncoder backend '{backend}'; use one of {known}.")
