"""The weight generator by itself."""

from __future__ import annotations

import pytest
import torch

from aqr_core.models.aqr import AQRWeightGenerator, build_windows
from aqr_core.models.aqr.weight_generator import WindowEncoderLayer

ANY_SHAPE = dict(bev_feature_shape=None, pers_feature_shape=None)


def inputs(cells, channels=16, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    batch, queries = cells.in_bev.shape
    rows = (queries, cells.shapes.num_tokens, cells.shapes.num_tokens)
    return [torch.randn(batch, n, channels, generator=generator, dtype=dtype) for n in rows]


@pytest.mark.parametrize(("activation", "neutral"), [("tanh", 0.0), ("sigmoid2", 1.0), ("sigmoid", 1.0)])
def test_a_query_without_a_window_gets_the_weight_that_changes_nothing(random_cells, activation, neutral):
    cells = random_cells()
    generator = AQRWeightGenerator(16, activation=activation, init=dict(bias=0.4), **ANY_SHAPE)
    weights = generator(*inputs(cells), cells)
    assert (weights[:, 0] == neutral).all()
    squashed = {"tanh": torch.tanh, "sigmoid2": lambda x: 2 * torch.sigmoid(x), "sigmoid": torch.sigmoid}[activation]
    torch.testing.assert_close(weights[:, 1], squashed(torch.full((2, 2), 0.4)))
    assert weights.shape == (2, 9, 2)


def test_every_query_sees_its_windows_and_nothing_else(random_cells):
    cells = random_cells()
    generator = AQRWeightGenerator(16, window_sizes=(3, 2), **ANY_SHAPE).eval()
    torch.nn.init.normal_(generator.predictor.weight)
    query_pos, memory, memory_pos = inputs(cells)
    windows = build_windows(cells, (3, 2))
    inside = torch.zeros(2, 9, 102, dtype=torch.bool).scatter_(2, windows.index, windows.valid)
    # Token 0 may be written by slots that are not valid.
    inside[..., 0] = ((windows.index == 0) & windows.valid).any(-1)
    memory.requires_grad_()
    weights = generator(query_pos, memory, memory_pos, cells)
    for query in (1, 4, 8):
        (gradient,) = torch.autograd.grad(weights[:, query].sum(), memory, retain_graph=True)
        assert torch.equal(gradient.abs().sum(-1) > 0, inside[:, query])


def test_layer_passes_gradcheck(random_cells):
    cells = random_cells(queries=4)
    torch.manual_seed(0)
    layer = WindowEncoderLayer(8, 2, 16, 0.0).double()
    query_pos, key, value = (x.requires_grad_() for x in inputs(cells, 8, torch.float64))
    windows = build_windows(cells, (3, 2))

    def forward(x, query_pos, key, value, *_):
        return layer(x, query_pos, key, value, windows)

    leaves = [torch.ones_like(query_pos).requires_grad_(), query_pos, key, value, *layer.parameters()]
    assert torch.autograd.gradcheck(forward, leaves, fast_mode=True)


def test_its_dropout_leaves_the_random_numbers_of_the_decoder(random_cells):
    cells = random_cells()
    generator = AQRWeightGenerator(16, **ANY_SHAPE).train()
    torch.nn.init.normal_(generator.predictor.weight)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    first = generator(*inputs(cells), cells)
    assert torch.equal(torch.rand(5), expected)
    assert not torch.equal(first, generator(*inputs(cells), cells))  # and the dropout is alive


def test_half_precision_under_autocast(random_cells):
    cells = random_cells()
    generator = AQRWeightGenerator(16, **ANY_SHAPE).eval()
    torch.nn.init.normal_(generator.predictor.weight)
    expected = generator(*inputs(cells), cells)
    with torch.autocast("cpu", torch.bfloat16):
        found = generator(*inputs(cells), cells)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)
