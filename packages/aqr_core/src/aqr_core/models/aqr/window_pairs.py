"""Multi-head products between queries and the tokens of their windows, over a ragged list of pairs.

A window holds some 130 of 22 384 tokens, so neither a (B, Q, T) mask nor copies of the windows' keys and values are
made: a pair is two row numbers, and sums over pairs are embedding bags, whose rows are read where they lie. The list
is sorted by query for what queries gather, and sorted by token for the gradients of keys and values: no scatter, so the
same bits every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class WindowPairs:
    """P pairs of a query and a token in its window, for A heads; numbers of a pair are (A, P).

    Queries, tokens and what is read from them are (B, A, N, c); as rows they are seen as (B * N * A, c), without a copy
    if they come from a projection of (B, N, C).

    Attributes:
        batch, heads: B and A.
        query: (A * P,) int32 row of the query; pairs are ordered by query.
        token: (A * P,) int32 row of the token.
        query_starts: (A * B * Q + 1,) where each query's pairs start, head by head, and the end.
        by_token: (P,) the pairs ordered by token.
        query_by_token: (A * P,) `query` in that order.
        token_starts: (A * B * T + 1,) where each token's pairs start in that order, head by head, and the end.
    """

    batch: int
    heads: int
    query: Tensor
    token: Tensor
    query_starts: Tensor
    by_token: Tensor
    query_by_token: Tensor
    token_starts: Tensor

    @classmethod
    def build(cls, index: Tensor, slot: Tensor, num_tokens: int, heads: int) -> WindowPairs:
        """(P,) slots, ascending, of a flattened (B, Q, W) table of tokens out of T, for A heads."""
        batch, queries, width = index.shape
        query = slot // width if width else slot
        token = (index.flatten()[slot] + query // queries * num_tokens).int()
        query = query.int()
        by_token = torch.argsort(token, stable=True)
        return cls(
            batch,
            heads,
            query=_rows(query, heads),
            token=_rows(token, heads),
            query_starts=_starts(query, batch * queries, heads),
            by_token=by_token,
            query_by_token=_rows(query[by_token], heads),
            token_starts=_starts(token[by_token], batch * num_tokens, heads),
        )

    def dots(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """(B, A, Q, c), (B, A, T, c) -> (A, P) inner products.

        They are what the gradient of an embedding bag with respect to its weights is made of.
        """
        sum_mode, no_padding = 0, -1
        flat = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            _head_rows(queries), _head_rows(tokens), self.token, self.query_starts, self.query, sum_mode, no_padding
        )
        return flat.view(self.heads, -1)

    def gather(self, share: Tensor, tokens: Tensor) -> Tensor:
        """(A, P) shares, (B, A, T, c) -> (B, A, Q, c): every query sums its tokens."""
        return self._bags(tokens, self.token, self.query_starts, share)

    def deliver(self, share: Tensor, queries: Tensor) -> Tensor:
        """(A, P) shares, (B, A, Q, c) -> (B, A, T, c): every token sums its queries, the adjoint of `gather`."""
        return self._bags(queries, self.query_by_token, self.token_starts, share.index_select(1, self.by_token))

    def spread(self, x: Tensor) -> Tensor:
        """(B, A, Q) -> (A, P): every pair gets the number of its query."""
        return _head_rows(x.unsqueeze(-1)).flatten().index_select(0, self.query).view(self.heads, -1)

    def sum(self, x: Tensor) -> Tensor:
        """(A, P) -> (B, A, Q): sums over the pairs of each query, 0 where there is none."""
        return self._reduce(x, "sum")

    def max(self, x: Tensor) -> Tensor:
        """(A, P) -> (B, A, Q): largest number of each query, -inf where there is none."""
        return self._reduce(x, "max")

    def _bags(self, source: Tensor, rows: Tensor, starts: Tensor, share: Tensor) -> Tensor:
        bags = F.embedding_bag(
            rows, _head_rows(source), starts, mode="sum", per_sample_weights=share.flatten(), include_last_offset=True
        )
        return bags.view(self.heads, self.batch, -1, source.shape[-1]).transpose(0, 1)

    def _reduce(self, x: Tensor, how: str) -> Tensor:
        reduced = torch.segment_reduce(x.flatten(), how, offsets=self.query_starts, unsafe=True)
        return reduced.view(self.heads, self.batch, -1).transpose(0, 1)


def _head_rows(x: Tensor) -> Tensor:
    """(B, A, N, c) -> (B * N * A, c)."""
    return x.transpose(1, 2).reshape(-1, x.shape[-1])


def _rows(rows: Tensor, heads: int) -> Tensor:
    """(P,) rows of (N, C) -> (A * P,) rows of (N * A, c), head by head."""
    return (rows * heads + torch.arange(heads, dtype=rows.dtype, device=rows.device).unsqueeze(1)).flatten()


def _starts(ordered: Tensor, num_rows: int, heads: int) -> Tensor:
    """(P,) ascending row numbers -> (A * rows + 1,) where the entries of each row start, head by head, and the end."""
    pairs = len(ordered)
    numbers = torch.arange(num_rows, dtype=ordered.dtype, device=ordered.device)
    starts = torch.searchsorted(ordered, numbers, out_int32=True)
    starts = starts + torch.arange(heads, dtype=starts.dtype, device=starts.device).unsqueeze(1) * pairs
    return F.pad(starts.flatten(), (0, 1), value=heads * pairs)
