"""Multi-head attention with packed projections: one function, optionally with an attention bias."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aqr_core.errors import ConfigError
from aqr_core.models.head.dropped_attention import attend_with_dropout
from aqr_core.models.precision import HALF
from aqr_core.registry import MODELS


class AttentionBias(Protocol):
    """Something added to the attention logits that knows how to attend with it."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c), (B, A, T, c) -> (B, A, Q, c)."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    bias: AttentionBias | None = None,
) -> Tensor:
    """Scaled dot-product attention over A heads.

    Args:
        query: (B, A, Q, c).
        key: (B, A, T, c).
        value: (B, A, T, c).
        mask: (Q, T) bool, True where a query may NOT look; not together with `bias`.
        dropout: of the attention probabilities; not together with `bias`.
        bias: added to the logits; picks its own backend.

    Returns:
        (B, A, Q, c).

    Raises:
        ConfigError: a bias, whose backends have no dropout, in attention with dropout.
    """
    if bias is not None:
        assert mask is None
        if dropout:
            raise ConfigError(
                f"The cross-attention drops {dropout} of its probabilities, which no attention bias can; give it the "
                "type 'PETRMultiheadAttention' (upstream's, which drops none), or attention_bias_config=None."
            )
        return bias.attend(query, key, value)
    allowed = None if mask is None else ~mask
    if dropout and query.device.type == "cpu" and query.dtype not in HALF:
        return attend_with_dropout(query, key, value, allowed, dropout)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, dropout_p=dropout)


class PackedAttention(nn.Module):
    """The projections around `attend`, with the parameter names and packing of `nn.MultiheadAttention`."""

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ConfigError(f"embed_dims {embed_dims} is no multiple of num_heads {num_heads}; change one of them.")
        self.embed_dims = embed_dims
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dims, embed_dims))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dims))
        self.out_proj = nn.Linear(embed_dims, embed_dims)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply the three input projections; shapes stay."""
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        return q, k, v

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, A, T, c)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: AttentionBias | None = None
    ) -> Tensor:
        """(B, Q, C), (B, T, C), (B, T, C) -> (B, Q, C)."""
        q, k, v = (self.split_heads(x) for x in self.project(query, key, value))
        dropout = self.dropout if self.training else 0.0
        out = attend(q, k, v, mask=mask, dropout=dropout, bias=bias)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class ResidualAttention(nn.Module):
    """Attention with dropout on its output, added to its input.

    Args:
        embed_dims: channels.
        num_heads: attention heads.
        dropout: of the residual branch.
        attention_dropout: of the attention probabilities.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attn = PackedAttention(embed_dims, num_heads, attention_dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        bias: AttentionBias | None = None,
    ) -> Tensor:
        """(B, Q, C) content `x` plus what `query` reads from `key` and `value`."""
        return x + self.dropout(self.attn(query, key, value, mask=mask, bias=bias))


@MODELS.register_module(name="MultiheadAttention")
class SelfAttention(ResidualAttention):
    """Upstream's self-attention: `dropout` acts on the probabilities and on the residual branch."""

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dims, num_heads, dropout, attention_dropout=dropout)


@MODELS.register_module(name=["PETRMultiheadFlashAttention", "PETRMultiheadAttention"])
class CrossAttention(ResidualAttention):
    """Upstream's cross-attention: its probabilities are never dropped (a positional slip there), only the branch."""

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__(embed_dims, num_heads, dropout, attention_dropout=0.0)
