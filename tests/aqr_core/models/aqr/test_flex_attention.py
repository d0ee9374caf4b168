"""The score function against the dense bias, and torch's FlexAttention with it, as far as a CPU can."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import flex_attention as torch_flex

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import AttentionBiasGenerator, MapShapes, attention_bias, build_windows, flex_attention
from aqr_core.models.aqr.attention_bias import window_values
from aqr_core.models.aqr.bias_rule import BiasRule
from aqr_core.models.aqr.dense_attention import DenseBias
from aqr_core.models.aqr.flex_attention import biased_score, query_cells, token_cells


@settings(max_examples=60, deadline=None)
@given(
    edges=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    views=st.sampled_from(["all", "first"]),
    sigma=st.sampled_from([None, 0.7, 2.0]),
    shapes=st.sampled_from([MapShapes((6, 7), (3, 4, 5)), MapShapes((5, 3), None), MapShapes(None, (2, 3, 4))]),
    seed=st.integers(0, 999),
)
def test_score_adds_the_dense_bias_exactly(random_cells, edges, views, sigma, shapes, seed):
    cells = random_cells(queries=4, shapes=shapes, seed=seed)
    strength = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(seed)) * 3
    rule = BiasRule(edges, views, sigma, limit=5.0)
    windows = build_windows(cells, edges, views)
    dense = DenseBias.of_windows(windows, window_values(strength, windows, rule), shapes.num_tokens).value
    b, q = torch.arange(2).view(2, 1, 1, 1), torch.arange(4).view(1, 1, 4, 1)
    score = biased_score(strength, cells, rule)
    assert torch.equal(score(torch.zeros(()), b, torch.tensor(0), q, torch.arange(shapes.num_tokens)), dense)


def test_cells_of_tokens_by_hand():
    place, row, col = token_cells(MapShapes((2, 3), (2, 1, 2)), torch.device("cpu"))
    assert place.tolist() == [0] * 6 + [1, 1, 2, 2]
    assert row.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert col.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1]


def test_absent_windows_are_far_away(random_cells):
    cells = random_cells()
    row, col = query_cells(cells, "first")
    assert row.shape == col.shape == (2, 9, 4)
    assert (row[:, 0] == flex_attention.FAR).all() and (col[:, 0] == flex_attention.FAR).all()
    assert (row[:, 1, 0] >= 0).all() and (row[:, 1, 1] >= 0).all()
    assert (row[:, 1, 2:] == flex_attention.FAR).all()  # seen by all three cameras, the first one counts


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_torch_flex_attention_uncompiled(make_problem, plain_flex, monkeypatch, dtype, tolerance):
    """What the GPU compiles; on a CPU torch refuses gradients because its compiled kernel has none there."""
    monkeypatch.setattr(flex_attention, "compiled_flex_attention", lambda: torch_flex.flex_attention)
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    problem = make_problem()
    options = dict(use_gaussian_window=True, window_size=[4, 3])
    expected, found = problem.run("dense", **options), problem.run("flex", dtype, **options)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].to(value), value, atol=tolerance, rtol=tolerance)


@pytest.mark.filterwarnings("error:flex_attention called without torch.compile")
@torch.no_grad()
def test_it_stays_compiled_in_a_process_of_many_settings(make_problem, monkeypatch):
    """Three compilations past a limit of one; that they are for no GPU does not matter."""
    monkeypatch.setattr(torch._dynamo.config, "cache_size_limit", 1)
    monkeypatch.setattr(attention_bias, "choose_backend", lambda *_: "flex")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    flex_attention.compiled_flex_attention.cache_clear()
    problem = make_problem()
    bias = AttentionBiasGenerator()(problem.weights.float(), problem.cells)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        bias.attend(problem.query.to(dtype), problem.key.to(dtype), problem.value.to(dtype))
    flex_attention.compiled_flex_attention.cache_clear()


def test_without_gradients_no_pairs_are_made(make_problem, plain_flex):
    problem = make_problem()
    generator = AttentionBiasGenerator(attention_backend="flex")
    with torch.no_grad():
        assert generator(problem.weights, problem.cells).gradient is None
    assert generator(problem.weights, problem.cells).gradient is not None


def test_a_cpu_cannot_train_with_it(make_problem):
    problem = make_problem()
    generator = AttentionBiasGenerator(attention_backend="flex")
    with pytest.raises(ConfigError, match="'flex'.*CPU.*'window'"):
        generator(problem.weights, problem.cells)
