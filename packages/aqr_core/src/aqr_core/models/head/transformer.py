"""The decoder: post-norm layers of self-attention, cross-attention and feed-forward network.

Config keys and state-dict keys are upstream's (CMT on top of PETR on top of mmcv).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.head.attention import AttentionBias
from aqr_core.models.recompute import recompute
from aqr_core.registry import MODELS, build

OPERATION_ORDER = ("self_attn", "norm", "cross_attn", "norm", "ffn", "norm")


@MODELS.register_module()
class FFN(nn.Module):
    """Two linear layers with a ReLU between, plus the input."""

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        num_fcs: int = 2,
        ffn_drop: float = 0.0,
        act_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if num_fcs != 2:
            raise ConfigError(f"FFN num_fcs is {num_fcs}; only 2 linear layers exist, so remove the key.")
        if act_cfg is not None and act_cfg.get("type") != "ReLU":
            raise ConfigError(f"FFN act_cfg is {dict(act_cfg)}; only type='ReLU' exists.")
        inner = nn.Sequential(nn.Linear(embed_dims, feedforward_channels), nn.ReLU(inplace=True), nn.Dropout(ffn_drop))
        self.layers = nn.Sequential(inner, nn.Linear(feedforward_channels, embed_dims), nn.Dropout(ffn_drop))

    def forward(self, x: Tensor) -> Tensor:
        """(B, Q, C) -> (B, Q, C)."""
        return x + self.layers(x)


@MODELS.register_module()
class PETRTransformerDecoderLayer(nn.Module):
    """One decoder layer.

    Args:
        attn_cfgs: configs of the self-attention and of the cross-attention.
        ffn_cfgs: config of the feed-forward network.
        operation_order: only upstream's post-norm order exists.
        feedforward_channels: kept for upstream configs; `ffn_cfgs` decides.
        with_cp: recompute activations in the backward pass to save memory.
    """

    def __init__(
        self,
        attn_cfgs: Sequence[Mapping[str, Any]],
        ffn_cfgs: Mapping[str, Any],
        operation_order: Sequence[str] = OPERATION_ORDER,
        feedforward_channels: int | None = None,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if tuple(operation_order) != OPERATION_ORDER:
            raise ConfigError(f"operation_order is {tuple(operation_order)}; only {OPERATION_ORDER} exists.")
        if len(attn_cfgs) != 2:
            raise ConfigError(f"attn_cfgs has {len(attn_cfgs)} entries; give self-attention, then cross-attention.")
        attentions = [build(cfg, MODELS) for cfg in attn_cfgs]
        self.attentions = nn.ModuleList(attentions)
        self.ffns = nn.ModuleList([build(ffn_cfgs, MODELS)])
        self.embed_dims: int = attentions[0].attn.embed_dims
        self.norms = nn.ModuleList(nn.LayerNorm(self.embed_dims) for _ in range(3))
        self.with_cp = with_cp

    def forward(
        self,
        x: Tensor,
        query_pos: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        bias: AttentionBias | None = None,
    ) -> Tensor:
        """(B, Q, C) content and position, (B, T, C) keys and values -> (B, Q, C)."""
        if self.with_cp and torch.is_grad_enabled():
            return recompute(self._layer, x, query_pos, key, value, mask, bias, of=[self])
        return self._layer(x, query_pos, key, value, mask, bias)

    def _layer(
        self,
        x: Tensor,
        query_pos: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: AttentionBias | None,
    ) -> Tensor:
        self_attention, cross_attention = self.attentions
        query = x + query_pos
        x = self.norms[0](self_attention(x, query, query, x, mask=mask))
        x = self.norms[1](cross_attention(x, x + query_pos, key, value, bias=bias))
        return self.norms[2](self.ffns[0](x))


@MODELS.register_module()
class PETRTransformerDecoder(nn.Module):
    """A stack of layers whose every output is kept, normalised by one shared `post_norm`."""

    def __init__(self, num_layers: int, transformerlayers: Mapping[str, Any], return_intermediate: bool = True) -> None:
        super().__init__()
        if not return_intermediate:
            raise ConfigError("return_intermediate=False is not supported: the task heads read every decoder layer.")
        layers = [build(transformerlayers, MODELS) for _ in range(num_layers)]
        self.layers = nn.ModuleList(layers)
        self.embed_dims: int = layers[0].embed_dims
        self.post_norm = nn.LayerNorm(self.embed_dims)

    def forward(
        self,
        query_pos: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        bias: AttentionBias | None = None,
    ) -> Tensor:
        """Decode queries whose content starts at zero -> (L, B, Q, C)."""
        x = torch.zeros_like(query_pos)
        outputs = []
        for layer in self.layers:
            x = layer(x, query_pos, key, value, mask=mask, bias=bias)
            outputs.append(x)
        return self.post_norm(torch.stack(outputs))


def init_like_detr(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases; scales of norms stay at one."""
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


@MODELS.register_module(name=["CmtTransformer", "CmtLidarTransformer", "CmtImageTransformer"])
class CmtTransformer(nn.Module):
    """Holder of the decoder. Upstream has one class per modality; here the memory decides."""

    routes = False  # whether a `RouterHead` must share the queries out

    def __init__(self, decoder: Mapping[str, Any]) -> None:
        super().__init__()
        self.decoder = build(decoder, MODELS)
        init_like_detr(self)

    @property
    def num_layers(self) -> int:
        """Decoder layers L."""
        return len(self.decoder.layers)

    @property
    def embed_dims(self) -> int:
        """Channels C."""
        return self.decoder.embed_dims

    def query_position(self, bev_code: Tensor, ray_code: Tensor | None, *, has_lidar: bool) -> Tensor:
        """(B, Q, C) sum of the BEV code and, with cameras, the ray code of the queries."""
        return bev_code if ray_code is None else bev_code + ray_code

    def values(self, memory: Tensor, img2lidar: Tensor | None, *, has_lidar: bool) -> Tensor:
        """(B, T, C) what cross-attention reads: the memory."""
        return memory

    def forward(
        self,
        memory: Tensor,
        memory_pos: Tensor,
        query_pos: Tensor,
        mask: Tensor | None = None,
        bias: AttentionBias | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Decode.

        Args:
            memory: (B, T, C) tokens.
            memory_pos: (B, T, C) their positions, added to make the keys.
            query_pos: (B, Q, C), see `query_position`.
            mask: (Q, Q) bool, True where self-attention is blocked.
            bias: added to the cross-attention logits of every layer.
            values: (B, T, C), see the method; the memory if None.

        Returns:
            (L, B, Q, C).
        """
        values = memory if values is None else values
        return self.decoder(query_pos, memory + memory_pos, values, mask=mask, bias=bias)
