"""MoME's router: every query chooses one of three experts that share one decoder.

The experts are those of `MOADTransformer`. The router is one post-norm layer over each query's windows of the fused
memory, as in the AQR weight generator, and a linear layer to three numbers.

Source: `MultiExpert` of github.com/konyul/MoME (second stage); keys of the state dict are upstream's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.aqr.weight_generator import WindowEncoderLayer
from aqr_core.models.aqr.windows import WindowTable, build_windows, check_views, check_window_edges
from aqr_core.models.head.moad import MOADTransformer
from aqr_core.models.head.router_output import EXPERTS
from aqr_core.models.head.transformer import init_like_detr
from aqr_core.registry import MODELS, build


@MODELS.register_module()
class WindowEncoder(nn.Module):
    """Layers of window cross-attention over the memory, then one norm.

    Args:
        embed_dims, num_heads, num_layers, feedforward_channels, dropout: of the layers; defaults are MoME's.
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
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            WindowEncoderLayer(embed_dims, num_heads, feedforward_channels, dropout, with_cp) for _ in range(num_layers)
        )
        self.post_norm = nn.LayerNorm(embed_dims)
        init_like_detr(self)

    def forward(self, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, windows: WindowTable) -> Tensor:
        """(B, Q, C) query positions, (B, T, C) tokens and their positions -> (B, Q, C); query content starts at 0."""
        x = torch.zeros_like(query_pos)
        key = memory + memory_pos
        for layer in self.layers:
            x = layer(x, query_pos, key, memory, windows)
        return self.post_norm(x)


@MODELS.register_module(name=["RouterTransformer", "MultiExpert"])
class RouterTransformer(MOADTransformer):
    """`MOADTransformer` with a router; `RouterHead` splits the queries by what it says.

    Logits start at 0, where every query chooses the fused expert.

    Args:
        decoder, use_type_embed, use_cam_embed: see `MOADTransformer`.
        encoder: arguments of `WindowEncoder`.
        window_sizes: window edge in cells, `[camera, lidar]`.
        views: 'all' or 'first' of the cameras that see a query.
        train_experts: decode in training, by all three experts, and learn to detect too; else the router alone learns.
        mome_compatible: upstream's windows, see `locate_like_mome`, and a router loss that counts denoising slots.
            By default a query has windows where it lies, and the router learns from the queries that exist at test.
    """

    routes = True

    def __init__(
        self,
        decoder: Mapping[str, Any],
        *,
        use_type_embed: bool = True,
        use_cam_embed: bool = False,
        encoder: Mapping[str, Any] | None = None,
        window_sizes: int | Sequence[int] = (15, 5),
        views: str = "all",
        train_experts: bool = False,
        mome_compatible: bool = False,
    ) -> None:
        super().__init__(decoder, use_type_embed=use_type_embed, use_cam_embed=use_cam_embed)
        self.window_sizes = check_window_edges("window_sizes", window_sizes)
        self.views = check_views(views)
        self.train_experts = train_experts
        self.mome_compatible = mome_compatible
        self.encoder = build({"type": "WindowEncoder", "embed_dims": self.embed_dims, **(encoder or {})}, MODELS)
        self.selected_cls = nn.Linear(self.embed_dims, len(EXPERTS))
        nn.init.zeros_(self.selected_cls.weight)
        nn.init.zeros_(self.selected_cls.bias)

    def rate_experts(self, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, cells: QueryCells) -> Tensor:
        """Rate the experts for every query.

        The inputs are taken without their graph: the router learns on top of the features and never moves them, as in
        upstream's second stage, where they are frozen.

        Args:
            query_pos: (B, Q, C) fused query embedding.
            memory: (B, T, C) BEV and image tokens.
            memory_pos: (B, T, C) their positions.
            cells: where the queries fall on the maps; one that falls on none is rated by the biases alone.

        Returns:
            (B, Q, 3) logits in the order of `EXPERTS`.
        """
        windows = build_windows(cells, self.window_sizes, self.views)
        encoded = self.encoder(query_pos.detach(), memory.detach(), memory_pos.detach(), windows)
        return self.selected_cls(encoded)
