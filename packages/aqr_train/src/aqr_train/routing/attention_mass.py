"""How much of its attention a query spends on LiDAR tokens, exactly, whatever computes the attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from aqr_core.models.head.attention import PackedAttention, attend


class AttentionMass:
    """Watches the cross-attention of a head; a context manager, outside of which nothing is watched.

    Every cross-attention is run once more with values that say of a token whether it is a BEV token: what comes out
    is the share of the attention on BEV tokens, of the very kernel and bias that the model uses. Image tokens hold
    the rest.

    Args:
        head: a `CmtHead` with AQR, in eval mode.
    """

    def __init__(self, head: Any) -> None:  # noqa: ANN401 - CmtHead; its parts are built by name
        self._head = head
        self._layers: list[Tensor] = []
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> AttentionMass:
        for layer in self._head.transformer.decoder.layers:
            cross_attention = layer.attentions[1].attn
            self._handles.append(cross_attention.register_forward_hook(self._watch, with_kwargs=True))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def take(self) -> Tensor:
        """(B, Q, L, A) share of LiDAR per decoder layer and head, in the forward pass since the last call."""
        layers, self._layers = self._layers, []
        return torch.stack(layers, dim=2)

    @torch.no_grad()
    def _watch(self, module: nn.Module, inputs: tuple[Tensor, ...], options: Mapping[str, Any], _: Tensor) -> None:
        assert isinstance(module, PackedAttention)
        query, key, _ = (module.split_heads(x) for x in module.project(*inputs))
        # As wide as the real values: not every kernel takes another width.
        is_bev = torch.zeros_like(key)
        is_bev[..., : self._head.last_aqr.cells.shapes.num_bev, 0] = 1
        share = attend(query, key, is_bev, mask=options.get("mask"), bias=options.get("bias"))
        self._layers.append(share[..., 0].float().mT)
