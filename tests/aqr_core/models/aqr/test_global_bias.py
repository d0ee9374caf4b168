"""A bias on a whole modality: further channels against the materialised bias."""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.models.aqr import AttentionBiasGenerator
from aqr_core.models.aqr.global_bias import ModalityBias, split_for


def test_modalities_by_hand():
    bias = ModalityBias(torch.tensor([[[2.0, -3.0]]]), num_bev=2, num_tokens=5)
    assert bias.dense.tolist() == [[[[2, 2, -3, -3, -3]]]]


@pytest.mark.parametrize("backend", ["auto", "window", "flex"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)],
)
def test_every_backend_is_the_plain_kernel(make_problem, backend, dtype, tolerance):
    problem = make_problem()
    expected = problem.rounded(dtype).run("dense", use_local_bias=False)
    found = problem.run(backend, dtype, use_local_bias=False)
    for name, value in expected.items():
        limit = tolerance * max(1.0, float(value.abs().max()))
        torch.testing.assert_close(found[name].to(value), value, atol=limit, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_the_bias(dtype):
    """4.9 sqrt(32) is 27.72: rounded to bfloat16 the bias would be off by 0.9 % of 1; in two parts it is not."""
    bias = torch.linspace(-5, 5, 1001).double() * 32**0.5
    parts = split_for(bias.float(), dtype)
    assert len(parts) == 2 and all(part.dtype == dtype for part in parts)
    one, two = ((sum(part.double() for part in parts[:n]) - bias).abs().max() / 32**0.5 for n in (1, 2))
    assert two < 3e-5 and one > 30 * two
    assert len(split_for(bias, torch.float64)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_gradient_arrives_once(dtype):
    bias = torch.linspace(-5, 5, 11).requires_grad_()
    sum(part.float().sum() for part in split_for(bias, dtype)).backward()
    assert torch.equal(bias.grad, torch.ones(11))


def test_only_the_bias_learns(make_problem):
    problem = make_problem()
    expected = problem.run("dense", use_local_bias=False)
    found = problem.run("auto", needs=["weights"], use_local_bias=False)
    torch.testing.assert_close(found["weights"], expected["weights"])
    torch.testing.assert_close(found["scale"], expected["scale"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
def test_plain_kernel_of_a_gpu(make_problem, dtype, tolerance):
    problem = make_problem()
    expected = problem.rounded(dtype).run("dense", use_local_bias=False)
    found = problem.run("auto", dtype, device="cuda", use_local_bias=False)
    for name, value in expected.items():
        limit = tolerance * max(1.0, float(value.abs().max()))
        torch.testing.assert_close(found[name].to(value), value, atol=limit, rtol=0)


def test_attention_goes_where_the_bias_says(random_cells):
    generator = AttentionBiasGenerator(use_local_bias=False, bias_scale=5.0)
    cells = random_cells(batch=1, queries=2)
    bias = generator(torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]]), cells)
    is_bev = (torch.arange(102) < 42).float().view(1, 1, 102, 1).expand(-1, -1, -1, 8)
    share = bias.attend(torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 102, 8), is_bev)[0, 0, :, 0]
    bev, image = 42 * math.exp(5), 60 * math.exp(-5)
    other_bev, other_image = 42 * math.exp(-5), 60 * math.exp(5)
    expected = torch.tensor([bev / (bev + image), other_bev / (other_bev + other_image)])
    torch.testing.assert_close(share.detach(), expected)
