"""Products over the list of pairs against dense matrices."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.models.aqr.window_pairs import WindowPairs, _head_rows
from aqr_core.models.aqr.window_softmax import attend_to_windows


def random_pairs(batch, queries, tokens, width, heads, seed):
    """A table of different tokens per query with a random number of valid slots, its pairs, and its (B, Q, T) mask."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.rand(batch, queries, tokens, generator=generator).argsort(dim=-1)[..., :width]
    valid = torch.rand(index.shape, generator=generator) > 0.4
    valid[:, 0] = False
    slot = valid.flatten().nonzero().squeeze(1)
    mask = torch.zeros(batch, queries, tokens, dtype=torch.bool).scatter(2, index, valid)
    return WindowPairs.build(index, slot, tokens, heads), index, valid, mask


def normal(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    queries=st.integers(1, 5),
    tokens=st.integers(4, 9),
    width=st.integers(0, 4),
    heads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_products_equal_dense_matrices(batch, queries, tokens, width, heads, seed):
    pairs, index, valid, mask = random_pairs(batch, queries, tokens, width, heads, seed)
    q, k = normal(batch, heads, queries, 4), normal(batch, heads, tokens, 4, seed=2)
    sample, query, _ = valid.nonzero(as_tuple=True)
    token = index[valid]
    dense = q @ k.mT
    dots = pairs.dots(q, k)
    torch.testing.assert_close(dots, dense[sample, :, query, token].T)
    share = dots.sigmoid()
    placed = torch.where(mask.unsqueeze(1), dense.sigmoid(), 0.0)
    torch.testing.assert_close(pairs.gather(share, k), placed @ k)
    torch.testing.assert_close(pairs.deliver(share, q), placed.mT @ q)
    torch.testing.assert_close(pairs.sum(share), placed.sum(-1))
    torch.testing.assert_close(pairs.max(share), torch.where(placed > 0, placed, -torch.inf).amax(-1))
    torch.testing.assert_close(pairs.spread(q[..., 0]), q[sample, :, query, 0].T)


def test_the_list_has_only_valid_slots_and_is_made_without_copies_of_rows():
    pairs, _, valid, _ = random_pairs(2, 5, 9, 4, heads=3, seed=0)
    count = int(valid.sum())
    assert pairs.by_token.shape == (count,)
    assert pairs.query.shape == pairs.token.shape == (3 * count,)
    projected = torch.arange(2 * 9 * 12.0).view(2, 9, 12)
    rows = _head_rows(projected.unflatten(-1, (3, 4)).transpose(1, 2))
    assert rows.data_ptr() == projected.data_ptr()
    # Row (sample * T + token) * A + head holds the channels of that head.
    assert rows[(1 * 9 + 5) * 3 + 2].tolist() == projected[1, 5, 8:].tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_window_softmax_equals_masked_attention(dtype):
    pairs, _, _, mask = random_pairs(2, 5, 9, 4, heads=3, seed=3)
    q, k, v = (normal(2, 3, n, 4, seed=n + i).to(dtype) for i, n in enumerate((5, 9, 9)))
    logits = (q.double() @ k.double().mT / 2).masked_fill(~mask.unsqueeze(1), -torch.inf)
    expected = logits.softmax(-1).nan_to_num(0.0) @ v.double()
    out = attend_to_windows(q, k, v, pairs)
    assert out.dtype == dtype and not out[:, :, 0].any()
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.float16: 1e-3, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=tolerance)


def test_window_softmax_survives_large_logits():
    pairs, _, _, _ = random_pairs(1, 4, 9, 4, heads=1, seed=3)
    q, k = normal(1, 1, 4, 4).float() * 1e3, normal(1, 1, 9, 4, seed=2).float() * 1e3
    assert attend_to_windows(q, k, k, pairs).isfinite().all()


def test_window_softmax_passes_gradcheck():
    pairs, _, _, _ = random_pairs(2, 5, 9, 4, heads=3, seed=3)
    leaves = [normal(2, 3, n, 4, seed=n + i).requires_grad_() for i, n in enumerate((5, 9, 9))]
    assert torch.autograd.gradcheck(lambda q, k, v: attend_to_windows(q, k, v, pairs), leaves, fast_mode=True)


def test_only_asked_gradients_are_computed():
    pairs, _, _, _ = random_pairs(2, 5, 9, 4, heads=3, seed=3)
    q, k, v = (normal(2, 3, n, 4, seed=n) for n in (5, 9, 9))
    for leaf in (q, k, v):
        leaf.requires_grad_()
        (gradient,) = torch.autograd.grad(attend_to_windows(q, k, v, pairs).square().sum(), leaf)
        assert gradient.abs().max() > 0
        leaf.requires_grad_(False)


def test_dropout_acts_on_the_probabilities():
    pairs, _, _, _ = random_pairs(1, 5, 9, 4, heads=2, seed=3)
    q, k = normal(1, 2, 5, 4), normal(1, 2, 9, 4, seed=2)
    ones = torch.ones(1, 2, 9, 4, dtype=torch.float64)
    torch.manual_seed(0)
    mass = torch.stack([attend_to_windows(q, k, ones, pairs, dropout=0.5) for _ in range(2000)])
    assert mass.std(dim=0)[:, :, 1:].min() > 0.1
    full = attend_to_windows(q, k, ones, pairs)
    torch.testing.assert_close(mass.mean(dim=0), full, atol=0.1, rtol=0)
