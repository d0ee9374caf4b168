"""The bias generator: finite differences through every backend, and the rule in a window."""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.models.aqr import AttentionBiasGenerator, QueryCells
from aqr_core.models.aqr.bias_rule import BiasRule


@pytest.mark.parametrize("options", [dict(), dict(use_gaussian_window=True, views="first"), dict(use_local_bias=False)])
@pytest.mark.parametrize("backend", ["dense", "window", "flex"])
def test_weights_and_scale_pass_gradcheck(make_problem, random_cells, plain_flex, backend, options):
    problem = make_problem(random_cells(queries=4, batch=1), heads=2, channels=4)
    generator = AttentionBiasGenerator(attention_backend=backend, window_size=[3, 2], **options).double()

    def attend(weights, scale, query, key, value):
        generator.__dict__["bias_scale"] = scale  # in front of the parameter of that name
        return generator(weights, problem.cells).attend(query, key, value)

    scale = generator.bias_scale.detach().clone()
    leaves = [problem.weights * 0.3, scale, problem.query, problem.key, problem.value]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


def test_scale_gradient_is_a_difference_quotient(make_problem):
    problem = make_problem()

    def loss(scale):
        generator = AttentionBiasGenerator(bias_scale=scale).double()
        out = generator(problem.weights * 0.3, problem.cells).attend(problem.query, problem.key, problem.value)
        return (out * problem.gradient).sum(), generator.bias_scale

    value, parameter = loss(2.0)
    value.backward()
    step = 1 / 1024  # exact in the parameter's float32
    quotient = ((loss(2.0 + step)[0] - loss(2.0 - step)[0]) / (2 * step)).detach()
    assert float(parameter.grad) == pytest.approx(float(quotient), rel=1e-5)


def test_rule_by_hand():
    strength, distance_sq = torch.tensor([2.0, 4.0, 40.0, -40.0]), torch.tensor([0.0, 2.0, 8.0, 0.0])
    uniform = BiasRule((8, 8), "all", None, limit=5.0)
    assert uniform.value(strength, distance_sq).tolist() == [2.0, 4.0, 5.0, -5.0]
    gaussian = BiasRule((8, 8), "all", 2.0, limit=5.0)  # exp(-d^2 / 8)
    expected = [2.0, 4 * math.exp(-0.25), 5.0, -5.0]  # 40 exp(-1) is 14.7: clamped after the fall-off
    assert gaussian.value(strength, distance_sq).tolist() == pytest.approx(expected, rel=1e-6)
    assert gaussian.value(strength.double(), distance_sq).tolist() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("max_scale", "limit"), [(5.0, 5.0), (4.0, 4.0), (9.0, 5.0)])
def test_limit_is_the_smaller_of_5_and_max_scale(max_scale, limit):
    assert AttentionBiasGenerator(max_scale=max_scale).rule.limit == limit


def test_strength_of_half_precision_weights_is_float32(make_problem):
    problem = make_problem()
    bias = AttentionBiasGenerator(attention_backend="window")(problem.weights.bfloat16(), problem.cells)
    assert bias.value.dtype == torch.float32


def test_pairs_are_made_once_for_all_layers(make_problem):
    problem = make_problem()
    bias = AttentionBiasGenerator(attention_backend="window")(problem.weights, problem.cells)
    bias.attend(problem.query, problem.key, problem.value)
    assert bias.windows.pairs(102, 4) is bias.windows.pairs(102, 4)
    assert len(bias.value) == int(bias.windows.valid.sum()) < bias.windows.valid.numel()


def test_a_bias_of_some_queries_is_that_of_all(make_problem):
    problem = make_problem()
    generator = AttentionBiasGenerator(attention_backend="window")
    some = slice(3, None)
    part: QueryCells = problem.cells.select(some)
    alone = generator(problem.weights[:, some], part).attend(problem.query[:, :, some], problem.key, problem.value)
    full = generator(problem.weights, problem.cells).attend(problem.query, problem.key, problem.value)
    torch.testing.assert_close(alone, full[:, :, some])
