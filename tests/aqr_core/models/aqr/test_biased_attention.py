"""Every backend against `dense`, forward and backward."""

from __future__ import annotations

import logging

import pytest
import torch

from aqr_core.models.aqr import biased_attention
from aqr_core.models.aqr.biased_attention import ModalityBias, WindowBias, choose_backend

B, A, Q, T, C, W = 2, 4, 19, 120, 8, 12


def problem(dtype, bias=None, seed=0):
    """query, key, value, bias, index and an output gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    index = torch.stack([torch.randperm(T, generator=generator)[:W] for _ in range(B * Q)]).view(B, Q, W)
    value = normal(B, Q, W).clamp(-5, 5) if bias is None else torch.full((B, Q, W), bias, dtype=torch.float64)
    value[:, :, -2:] = 0  # unused slots point at token 0
    index[:, :, -2:] = 0
    tensors = [normal(B, A, Q, C), normal(B, A, T, C), normal(B, A, T, C), value]
    return [t.to(dtype) for t in tensors], index, normal(B, A, Q, C).to(dtype)


def run(tensors, gradient, make_bias):
    leaves = [t.clone().requires_grad_() for t in tensors]
    out = make_bias(leaves[3]).attend(*leaves[:3])
    out.backward(gradient)
    return [out.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("bias", [None, -5.0, 5.0, 0.0])
def test_window_equals_dense(dtype, tolerance, bias):
    tensors, index, gradient = problem(dtype, bias)
    dense = run(tensors, gradient, lambda value: WindowBias(index, value, T, "dense"))
    window = run(tensors, gradient, lambda value: WindowBias(index, value, T, "window"))
    # Unused slots share token 0, so only the sum of their gradients means anything; callers mask them.
    for a, b in zip(dense[:4], window[:4], strict=True):
        torch.testing.assert_close(b, a, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(window[4][..., :-2], dense[4][..., :-2], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "grad_tolerance"), [(torch.float64, 1e-9, 1e-9), (torch.float32, 1e-4, 1e-2)]
)
def test_window_with_nearly_all_the_mass_and_a_negative_bias(dtype, tolerance, grad_tolerance):
    """The cancelling case: rounding grows by 1 / ((1 - m) + m e^-5), about 130 at m = 0.999."""
    tensors, index, gradient = problem(torch.float64, -5.0)
    query, key = tensors[0], tensors[1]
    query[..., 0] = 30.0
    key[..., 0] = 0.0
    index = index[:, :1].expand(-1, Q, -1).contiguous()  # one window for all queries
    for sample in range(B):
        key[sample, :, index[sample, 0, :-2], 0] = 1.0
    logits = query @ key.mT / C**0.5
    share = logits.softmax(-1)
    mass = torch.stack([share[b][..., index[b, 0, :-2]].sum(-1) for b in range(B)])
    assert mass.median() > 0.999
    tensors = [t.to(dtype) for t in tensors]
    dense = run([t.double() for t in tensors], gradient, lambda value: WindowBias(index, value, T, "dense"))
    window = run(tensors, gradient.to(dtype), lambda value: WindowBias(index, value, T, "window"))
    torch.testing.assert_close(window[0].double(), dense[0], atol=tolerance, rtol=tolerance)
    for a, b in zip(dense[1:4], window[1:4], strict=True):
        torch.testing.assert_close(b.double(), a, atol=grad_tolerance, rtol=grad_tolerance)


def test_gradients_pass_gradcheck():
    tensors, index, _ = problem(torch.float64)
    leaves = [t[..., :5, :].clone().requires_grad_() for t in tensors[:1]]
    leaves += [t.clone().requires_grad_() for t in tensors[1:3]] + [tensors[3][:, :5].clone().requires_grad_()]
    used = index[:, :5, :-2]

    def attend(query, key, value, bias):
        return WindowBias(used, bias[..., :-2], T, "window").attend(query, key, value)

    assert torch.autograd.gradcheck(attend, leaves, fast_mode=True)


def test_both_add_the_bias_to_the_logits():
    tensors, index, _ = problem(torch.float64)
    query, key, value, bias = tensors
    logits = query @ key.mT / C**0.5
    for b in range(B):
        for q in range(Q):
            for w in range(W - 2):
                logits[b, :, q, index[b, q, w]] += bias[b, q, w]
    expected = logits.softmax(-1) @ value
    for backend in ("dense", "window"):
        torch.testing.assert_close(WindowBias(index, bias, T, backend).attend(query, key, value), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_modality_bias_backends_agree(dtype, tolerance):
    tensors, _, gradient = problem(dtype)
    tensors[3] = tensors[3][..., :2].contiguous()
    dense = run(tensors, gradient, lambda value: ModalityBias(value, 70, T, "dense"))
    window = run(tensors, gradient, lambda value: ModalityBias(value, 70, T, "window"))
    for a, b in zip(dense, window, strict=True):
        torch.testing.assert_close(b, a, atol=tolerance, rtol=tolerance)
    bias = ModalityBias(tensors[3], 70, T).dense
    torch.testing.assert_close(
        bias[0, 0, 3], torch.cat([tensors[3][0, 3, :1].expand(70), tensors[3][0, 3, 1:].expand(50)])
    )


def test_half_precision_is_close_to_float32():
    tensors, index, _ = problem(torch.float32)
    reference = WindowBias(index, tensors[3], T, "dense").attend(*tensors[:3])
    for backend in ("auto", "dense", "window"):
        for half_storage in (True, False):
            bias = WindowBias(index, tensors[3], T, backend, half_storage)
            out = bias.attend(*(t.bfloat16() for t in tensors[:3]))
            assert out.dtype == torch.bfloat16
            torch.testing.assert_close(out.float(), reference, atol=0.06, rtol=0.06)


def test_auto_picks_by_dtype_and_size_and_says_so(caplog):
    biased_attention._log_choice.cache_clear()
    query = torch.zeros(1, 8, 4, 32)
    with caplog.at_level(logging.INFO):
        assert choose_backend("auto", query, num_tokens=22384, window=192) == "window"
        assert choose_backend("auto", query, num_tokens=2656, window=192) == "dense"
        assert choose_backend("auto", query.half(), num_tokens=22384, window=192) == "dense"
        assert choose_backend("auto", query.to("meta"), num_tokens=22384, window=192) == "dense"
        assert choose_backend("window", query, num_tokens=1, window=192) == "window"
    assert [record.message.split(" on ")[0] for record in caplog.records] == [
        "Attention backend 'window'",
        "Attention backend 'dense'",
        "Attention backend 'dense'",
        "Attention backend 'dense'",
    ]
    assert "half precision" in caplog.text and "small against 22384 tokens" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_window_equals_dense_on_cuda():
    tensors, index, gradient = problem(torch.float32)
    tensors, index, gradient = [t.cuda() for t in tensors], index.cuda(), gradient.cuda()
    dense = run(tensors, gradient, lambda value: WindowBias(index, value, T, "dense"))
    window = run(tensors, gradient, lambda value: WindowBias(index, value, T, "window"))
    for a, b in zip(dense[:4], window[:4], strict=True):
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(window[4][..., :-2], dense[4][..., :-2], atol=1e-5, rtol=1e-5)
