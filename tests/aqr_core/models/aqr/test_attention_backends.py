"""Every backend against `dense` in float64: outputs, and gradients to queries, keys, values, weights and scale."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from aqr_core.models.aqr import MapShapes, QueryCells, window_attention
from aqr_core.models.aqr.attention_bias import AttentionBiasGenerator
from aqr_core.models.head.attention import CrossAttention

BACKENDS = ["dense", "window", "flex"]
PRECISIONS = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 6e-3, torch.bfloat16: 5e-2}
RULES = {
    "uniform": dict(window_size=[4, 3]),
    "gaussian, first camera": dict(window_size=[3, 4], use_gaussian_window=True, gaussian_sigma=1.5, views="first"),
    "clamped": dict(window_size=5, bias_scale=5.0),
}
CUDA = [
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")])
]
DEVICES = ["cpu", *CUDA]


@pytest.fixture(autouse=True)
def flex_without_a_gpu(request):
    callspec = getattr(request.node, "callspec", None)
    if callspec is None or callspec.params.get("device") != "cuda":
        request.getfixturevalue("plain_flex")


def assert_close(found, expected, tolerance):
    """Up to `tolerance` of the largest number, or of 1."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        limit = tolerance * max(1.0, float(value.abs().max()))
        error = float((found[name].to(value) - value).abs().max())
        assert error <= limit, f"{name} is off by {error:.2e}, allowed are {limit:.2e}"


def skip_unsupported(backend, device, dtype):
    if device == "cuda" and dtype == torch.float64 and backend != "dense":
        pytest.skip("no fused kernel on a GPU takes float64")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_gradients(make_problem, backend, dtype, rule, device):
    skip_unsupported(backend, device, dtype)
    problem = make_problem()
    expected = problem.rounded(dtype).run("dense", **RULES[rule])
    found = problem.run(backend, dtype, device=device, **RULES[rule])
    assert_close({name: value.cpu() for name, value in found.items()}, expected, PRECISIONS[dtype])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_bias_learns(make_problem, monkeypatch, backend, dtype, device):
    """All else frozen: the memory-efficient kernel of a GPU crashes here unless it is told to keep its sums."""
    skip_unsupported(backend, device, dtype)

    def forbidden(*_):
        raise AssertionError("no gradient of the fused kernel is needed")

    monkeypatch.setattr(window_attention, "fused_backward", forbidden)
    problem = make_problem()
    expected = problem.rounded(dtype).run("dense")
    found = problem.run(backend, dtype, needs=["weights"], device=device)
    expected = {name: expected[name] for name in ("out", "weights", "scale")}
    assert_close({name: value.cpu() for name, value in found.items()}, expected, PRECISIONS[dtype])


@pytest.mark.parametrize("needs", ["query", "key", "value"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_input_needs_a_gradient(make_problem, backend, needs):
    problem = make_problem()
    expected = problem.run("dense")
    found = problem.run(backend, needs=[needs])
    assert_close(found, {name: expected[name] for name in ("out", needs)}, 1e-9)


def test_the_reference_adds_the_bias_to_the_logits(make_problem):
    """A naive loop over queries and their cells."""
    problem = make_problem()
    cells, weights = problem.cells, problem.weights
    bias = torch.zeros(2, 1, 9, 102, dtype=torch.float64)
    for b in range(2):
        for q in range(9):
            maps = [(cells.in_bev[b, q], cells.bev_cell[b, q], 3, (6, 7), 0, weights[b, q, 0])]
            for n in range(3):
                first = 42 + 20 * n
                maps.append((cells.visible[b, q, n], cells.image_cell[b, q, n], 4, (4, 5), first, weights[b, q, 1]))
            for present, (row, col), edge, (rows, cols), first, weight in maps:
                for r in range(max(0, row - (edge - 1) // 2), min(rows, row + edge // 2 + 1)):
                    for c in range(max(0, col - (edge - 1) // 2), min(cols, col + edge // 2 + 1)):
                        bias[b, 0, q, first + r * cols + c] = present * (2.5 * weight).clamp(-5, 5)
    logits = problem.query @ problem.key.mT / 4 + bias
    torch.testing.assert_close(problem.run("dense", window_size=[4, 3])["out"], logits.softmax(-1) @ problem.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_queries_without_a_window_attend_plainly(make_problem, backend):
    problem = make_problem()
    plain = F.scaled_dot_product_attention(problem.query, problem.key, problem.value)
    found = problem.run(backend)["out"]
    torch.testing.assert_close(found[:, :, 0], plain[:, :, 0])
    assert (found - plain)[:, :, 1].abs().max() > 1e-3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_window_at_all(make_problem, random_cells, backend, device):
    cells = random_cells()
    blind = QueryCells(
        cells.shapes, cells.bev_cell, cells.in_bev & False, cells.image_cell, torch.zeros_like(cells.visible)
    )
    problem = make_problem(blind)
    plain = F.scaled_dot_product_attention(problem.query, problem.key, problem.value)
    found = problem.run(backend, torch.float32, device=device)
    torch.testing.assert_close(found["out"].cpu().double(), plain, atol=1e-5, rtol=1e-5)
    assert not found["weights"].any() and not found["scale"].any()
    assert found["key"].abs().max() > 0


@pytest.mark.parametrize("shapes", [MapShapes((6, 7), None), MapShapes(None, (3, 4, 5))])
@pytest.mark.parametrize("backend", BACKENDS)
def test_one_modality_alone(make_problem, random_cells, backend, shapes):
    problem = make_problem(random_cells(shapes=shapes))
    assert_close(problem.run(backend), problem.run("dense"), 1e-9)


@pytest.mark.parametrize("backend", ["window", "flex"])
def test_any_strides(make_problem, backend):
    problem = make_problem()

    def run(order):
        leaves = [getattr(problem, name).clone() for name in ("query", "key", "value")]
        leaves = [order(leaf).requires_grad_() for leaf in leaves]
        bias = AttentionBiasGenerator(attention_backend=backend)(problem.weights, problem.cells)
        out = bias.attend(*leaves)
        out, leaves = out.detach(), torch.autograd.grad(out.square().sum(), leaves)
        return dict(zip(("out", "q", "k", "v"), (out, *leaves), strict=True))

    expected = run(lambda x: x.contiguous())
    assert_close(run(lambda x: x.mT.contiguous().mT), expected, 1e-9)
    assert_close(run(lambda x: x.repeat_interleave(2, dim=2)[:, :, ::2]), expected, 1e-9)


@pytest.mark.parametrize("backend", ["dense", "window"])
def test_recomputed_activations_give_the_same_gradients(make_problem, backend):
    problem = make_problem()
    torch.manual_seed(0)
    layer = CrossAttention(64, 4)
    x, memory = torch.randn(2, 9, 64), torch.randn(2, 102, 64)

    def gradients(recompute):
        generator = AttentionBiasGenerator(attention_backend=backend)
        inputs = [x.clone().requires_grad_(), memory.clone().requires_grad_()]
        weights = problem.weights.float().requires_grad_()
        bias = generator(weights, problem.cells)
        out = inputs[0]
        for _ in range(2):  # two layers share the bias
            args = (out, out, inputs[1], inputs[1], None, bias)
            out = checkpoint(layer, *args, use_reentrant=False) if recompute else layer(*args)
        leaves = dict(
            x=inputs[0], memory=inputs[1], weights=weights, scale=generator.bias_scale, **dict(layer.named_parameters())
        )
        return dict(zip(leaves, torch.autograd.grad(out.square().sum(), leaves.values()), strict=True))

    assert_close(gradients(recompute=True), gradients(recompute=False), 1e-6)


@pytest.mark.parametrize("fp16", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_touch_the_arithmetic(make_problem, backend, fp16):
    problem = make_problem()
    expected = problem.run(backend, torch.bfloat16, fp16=fp16)
    found = problem.run(backend, torch.bfloat16, fp16=fp16, autocast=True)
    assert_close(found, expected, 0.0)


def test_float32_arithmetic_of_a_half_precision_model(make_problem):
    """`fp16=False` and the window backend round the output, and nothing before it."""
    problem = make_problem()
    expected = problem.rounded(torch.bfloat16).run("dense")
    for found in (
        problem.run("window", torch.bfloat16),
        problem.run("dense", torch.bfloat16, fp16=False),
    ):
        exact = expected["out"].bfloat16()
        assert (found["out"] != exact).float().mean() < 0.01  # a tie of rounding now and then


def test_results_repeat_bit_by_bit(make_problem):
    problem = make_problem()
    first, second = (problem.run("window", torch.float32) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
