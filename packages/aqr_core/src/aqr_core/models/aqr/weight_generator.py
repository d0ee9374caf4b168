"""The AQR weight generator: every query reads its windows of the memory and rates both modalities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.projection import MapShapes, QueryCells
from aqr_core.models.aqr.window_softmax import attend_to_windows
from aqr_core.models.aqr.windows import WindowTable, build_windows, check_views, check_window_edges
from aqr_core.models.head.attention import PackedAttention
from aqr_core.models.head.transformer import FFN
from aqr_core.models.precision import at_least_float32
from aqr_core.models.recompute import recompute
from aqr_core.registry import MODELS


class Activation(NamedTuple):
    """What makes a weight of a number, and the weight that changes nothing."""

    squash: Callable[[Tensor], Tensor]
    neutral: float


ACTIVATIONS = {
    "tanh": Activation(torch.tanh, neutral=0.0),  # [-1, 1]: for v3
    "sigmoid2": Activation(lambda x: 2 * torch.sigmoid(x), neutral=1.0),  # [0, 2]: for v1 and v2
    "sigmoid": Activation(torch.sigmoid, neutral=1.0),  # [0, 1]: the historical setting, at 0.5 for the number 0
}


class WindowAttention(PackedAttention):
    """Attention of each query to the tokens of its window only, in O(Q W)."""

    def forward_windows(self, query: Tensor, key: Tensor, value: Tensor, windows: WindowTable) -> Tensor:
        """(B, Q, C), (B, T, C), (B, T, C) -> (B, Q, C); zero before the output bias where a window is empty."""
        q, k, v = (self.split_heads(x) for x in self.project(query, key, value))
        pairs = windows.pairs(num_tokens=k.shape[2], heads=self.num_heads)
        out = attend_to_windows(q, k, v, pairs, self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class _WindowAttentionBlock(nn.Module):
    """Holds `attn`, so that parameter names match the decoder's."""

    def __init__(self, embed_dims: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attn = WindowAttention(embed_dims, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, windows: WindowTable) -> Tensor:
        return x + self.dropout(self.attn.forward_windows(query, key, value, windows))


class WindowEncoderLayer(nn.Module):
    """Post-norm layer: window cross-attention, norm, feed-forward network, norm."""

    def __init__(
        self, embed_dims: int, num_heads: int, feedforward_channels: int, dropout: float, with_cp: bool = False
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.attentions = nn.ModuleList([_WindowAttentionBlock(embed_dims, num_heads, dropout)])
        self.ffns = nn.ModuleList([FFN(embed_dims, feedforward_channels, ffn_drop=dropout)])
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dims) for _ in range(2))

    def forward(self, x: Tensor, query_pos: Tensor, key: Tensor, value: Tensor, windows: WindowTable) -> Tensor:
        """(B, Q, C) content and position, (B, T, C) keys and values -> (B, Q, C)."""
        if self.with_cp and torch.is_grad_enabled():
            return recompute(self._layer, x, query_pos, key, value, windows, of=[self])
        return self._layer(x, query_pos, key, value, windows)

    def _layer(self, x: Tensor, query_pos: Tensor, key: Tensor, value: Tensor, windows: WindowTable) -> Tensor:
        x = self.norms[0](self.attentions[0](x, x + query_pos, key, value, windows))
        return self.norms[1](self.ffns[0](x))


@MODELS.register_module()
class AQRWeightGenerator(nn.Module):
    """One LiDAR and one camera weight per query (docs/aqr.md).

    Args:
        embed_dims, num_heads, num_layers, feedforward_channels, dropout: of the window encoder.
        window_sizes: window edge in cells, `[camera, lidar]`.
        use_type_embed: add a learned vector per modality to the query position.
        activation: 'tanh', 'sigmoid2' or 'sigmoid'.
        init: 'neutral' starts with weights that change nothing; dict(bias=b) starts the predictor at a constant.
        views: 'all' or 'first' of the cameras that see a query.
        bev_feature_shape: (Y, X) that the BEV map must have; None takes any.
        pers_feature_shape: (N, H, W) that the image maps must have; None takes any.
        with_cp: recompute the layers in backward to save memory.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        *,
        num_heads: int = 4,
        num_layers: int = 1,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        window_sizes: int | Sequence[int] = (8, 5),
        use_type_embed: bool = True,
        activation: str = "tanh",
        init: str | Mapping[str, float] = "neutral",
        views: str = "all",
        bev_feature_shape: Sequence[int] | None = (128, 128),
        pers_feature_shape: Sequence[int] | None = (6, 20, 50),
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {activation!r}; allowed are {', '.join(map(repr, ACTIVATIONS))}.")
        sizes = dict(num_heads=num_heads, num_layers=num_layers, feedforward_channels=feedforward_channels)
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f"{name} is {size}; it must be 1 or more.")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout}; it must lie in [0, 1).")
        start = _initial_bias(init)
        self.embed_dims = embed_dims
        self.window_sizes = check_window_edges("window_sizes", window_sizes)
        self.views = check_views(views)
        self.activation = activation
        self.expected_shapes: tuple[tuple[int, ...] | None, ...] = (
            _expected_shape("bev_feature_shape", bev_feature_shape, ("Y", "X")),
            _expected_shape("pers_feature_shape", pers_feature_shape, ("N", "H", "W")),
        )
        self.layers = nn.ModuleList(
            WindowEncoderLayer(embed_dims, num_heads, feedforward_channels, dropout, with_cp) for _ in range(num_layers)
        )
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.predictor = nn.Linear(embed_dims, 2)
        nn.init.zeros_(self.predictor.weight)
        nn.init.constant_(self.predictor.bias, start)
        self.bev_type_embed = nn.Parameter(torch.randn(embed_dims) * 0.02) if use_type_embed else None
        self.rv_type_embed = nn.Parameter(torch.randn(embed_dims) * 0.02) if use_type_embed else None

    def forward(self, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, cells: QueryCells) -> Tensor:
        """Rate both modalities for every query.

        Args:
            query_pos: (B, Q, C) fused query embedding.
            memory: (B, T, C) tokens.
            memory_pos: (B, T, C) their positions.
            cells: where the queries fall on the maps.

        Returns:
            (B, Q, 2) weights `[lidar, camera]`; neutral where a query has no window at all.
        """
        self._check_shapes(cells.shapes)
        windows = build_windows(cells, self.window_sizes, self.views)
        if self.bev_type_embed is not None and self.rv_type_embed is not None:
            query_pos = query_pos + self.bev_type_embed + self.rv_type_embed
        x = torch.zeros_like(query_pos)
        key = memory + memory_pos
        # Dropout in here must not shift the random numbers of the decoder: so a neutral start equals the baseline
        # in training too.
        with torch.random.fork_rng(devices=[memory.device] if memory.is_cuda else [], enabled=self.training):
            for layer in self.layers:
                x = layer(x, query_pos, key, memory, windows)
        raw = at_least_float32(self.predictor(x))
        squash, neutral = ACTIVATIONS[self.activation]
        return torch.where(windows.valid.any(dim=-1, keepdim=True), squash(raw), neutral)

    @property
    def weight_range(self) -> tuple[float, float, float]:
        """The lowest weight, that which changes nothing, and the highest one; no query reaches the ends."""
        squash, neutral = ACTIVATIONS[self.activation]
        low, high = squash(torch.tensor([-math.inf, math.inf])).tolist()
        return low, neutral, high

    def _check_shapes(self, shapes: MapShapes) -> None:
        names = ("bev_feature_shape", "pers_feature_shape")
        for name, expected, real in zip(names, self.expected_shapes, (shapes.bev, shapes.image), strict=True):
            if expected is not None and real is not None and expected != tuple(real):
                raise ConfigError(f"{name} is {expected} but the feature map is {tuple(real)}; correct {name}.")


def _initial_bias(init: str | Mapping[str, float]) -> float:
    """Where the predictor starts."""
    match init:
        case "neutral":
            return 0.0
        case {"bias": int() | float() as bias, **rest} if not rest and math.isfinite(bias):
            return float(bias)
    raise ConfigError(f"init is {init!r}; allowed are 'neutral' and dict(bias=number).")


def _expected_shape(name: str, shape: Sequence[int] | None, axes: Sequence[str]) -> tuple[int, ...] | None:
    if shape is not None and not (isinstance(shape, Sequence) and len(shape) == len(axes)):
        raise ConfigError(f"{name} is {shape!r}; give ({', '.join(axes)}), or None to take any map.")
    return None if shape is None else tuple(shape)
