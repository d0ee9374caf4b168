"""The cancelling case: windows that hold nearly all of the attention, and a bias that takes it away.

At m = 0.999 and b = -5 the sums of the window backend cancel to 1 / 130 of what they add up.
"""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.models.aqr import MapShapes, QueryCells

Q, EDGE, SHAPES = 12, 3, MapShapes((30, 40), None)
BACKENDS = ["dense", "window", "flex"]
# Of the output and of the gradients, relative to the largest number. `dense` in half precision rounds logits of 14 to
# 1 / 32 in bfloat16; the gradient of the bias in `flex` starts from the rounded output; the rest is the rounding of
# output and gradients, and in `window` and float32 the cancelling itself (output 1e-4; the gradient of the scale, a sum
# that cancels once more, 3e-3; in half precision too, where the sums are float32 and their order is the processor's).
TOLERANCES = {
    ("dense", torch.float64): 1e-9,
    ("window", torch.float64): 1e-9,
    ("flex", torch.float64): 1e-9,
    ("dense", torch.float32): 1e-5,
    ("window", torch.float32): 1e-2,
    ("flex", torch.float32): 1e-4,
    ("dense", torch.float16): 2e-2,
    ("window", torch.float16): 1e-2,
    ("flex", torch.float16): 5e-3,
    ("dense", torch.bfloat16): 1e-1,
    ("window", torch.bfloat16): 1e-2,
    ("flex", torch.bfloat16): 5e-2,
}


@pytest.fixture
def peaked(make_problem):
    """All queries in one cell, whose window holds 0.999 of the attention of each; weights that bias it by -5."""
    cells = QueryCells(
        SHAPES,
        torch.tensor([20, 30]).expand(1, Q, 2),
        torch.ones(1, Q, dtype=torch.bool),
        torch.zeros(1, Q, 0, 2, dtype=torch.long),
        torch.zeros(1, Q, 0, dtype=torch.bool),
    )
    problem = make_problem(cells)
    window = torch.zeros(SHAPES.bev, dtype=torch.bool)
    window[19:22, 29:32] = True
    problem.key[..., 0] = window.flatten().double()
    rest = SHAPES.num_bev - EDGE**2
    problem.query[..., 0] = 0
    logits = problem.query @ problem.key.mT / 4
    inside, outside = (logits[..., mask].logsumexp(-1) for mask in (window.flatten(), ~window.flatten()))
    problem.query[..., 0] = 4 * (math.log(999) + outside - inside)  # exactly m = 0.999
    mass = (problem.query @ problem.key.mT / 4).softmax(-1)[..., window.flatten()].sum(-1)
    torch.testing.assert_close(mass, torch.full_like(mass, 0.999))
    assert rest == 1191
    problem.weights.fill_(-2.0)
    return problem


def check(peaked, backend, dtype, device, **options):
    expected = peaked.rounded(dtype).run("dense", window_size=EDGE)
    found = peaked.run(backend, dtype, device=device, window_size=EDGE, **options)
    tolerance = TOLERANCES[backend, dtype]
    for name, value in expected.items():
        error = float((found[name].to(value) - value).abs().max() / value.abs().max().clamp(min=1e-30))
        assert error <= tolerance, f"{name} is off by {error:.1e} of its largest number"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_peaked_attention(peaked, plain_flex, backend, dtype):
    check(peaked, backend, dtype, "cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_storage_off_removes_the_rounding_of_the_logits(peaked, dtype):
    expected = peaked.rounded(dtype).run("dense", window_size=EDGE)
    found = peaked.run("dense", dtype, window_size=EDGE, fp16=False)
    torch.testing.assert_close(found["out"].double(), expected["out"], atol=1e-2, rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_peaked_attention_on_a_gpu(peaked, backend, dtype):
    check(peaked, backend, dtype, "cuda")
