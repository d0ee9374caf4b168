"""Multi-head products between queries and their gathered windows, as plain batched matrix products.

Heads are kept apart by block-diagonal queries: A times the arithmetic, but no copy of the gathered rows, which are
what costs. All tensors hold the heads side by side in C = A c channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def flat_rows(index: Tensor, num_tokens: int) -> Tensor:
    """(B, Q, W) token indices -> (B * Q, W) row numbers in flattened (B * T, C) tokens."""
    first = torch.arange(len(index), device=index.device).view(-1, 1, 1) * num_tokens
    return (index + first).flatten(0, 1)


def gather_windows(tokens: Tensor, rows: Tensor) -> Tensor:
    """(B, T, C) tokens -> (B * Q, W, C) at `rows` from `flat_rows`; W is 0 where no camera sees any query."""
    channels = tokens.shape[-1]
    return tokens.reshape(-1, channels).index_select(0, rows.flatten()).view(*rows.shape, channels)


def scatter_windows(tokens: Tensor, rows: Tensor, added: Tensor) -> Tensor:
    """(B, T, C) tokens plus (B * Q, W, C) at `rows`."""
    return tokens.reshape(-1, tokens.shape[-1]).index_add(0, rows.flatten(), added.flatten(0, 1)).view(tokens.shape)


def spread_heads(x: Tensor, heads: int) -> Tensor:
    """(B, Q, C) -> (B * Q, A, C), row a zero outside the channels of head a."""
    return x.flatten(0, 1).unsqueeze(1) * _head_blocks(x, heads)


def pick_heads(x: Tensor, batch: int) -> Tensor:
    """(B * Q, A, C) -> (B, Q, C), the channels of head a from row a: the adjoint of `spread_heads`."""
    return (x * _head_blocks(x, x.shape[1])).sum(dim=1).unflatten(0, (batch, -1))


def _head_blocks(x: Tensor, heads: int) -> Tensor:
    """(A, C) block-diagonal ones."""
    return torch.eye(heads, dtype=x.dtype, device=x.device).repeat_interleave(x.shape[-1] // heads, dim=1)
