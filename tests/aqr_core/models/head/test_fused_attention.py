"""The baseline's attention stays inside fused kernels: nothing of the size queries x tokens exists."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode


class Shapes(TorchDispatchMode):
    """The last two sizes of every tensor that an operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(value, torch.Tensor):
                self.seen.add(tuple(value.shape[-2:]))
        return out


def test_no_queries_by_tokens_matrix_in_forward_or_backward(build_tiny_head, tiny_inputs):
    head = build_tiny_head()
    tokens = 40 * 40 + 6 * 4 * 11
    with Shapes() as shapes:
        out = head(*tiny_inputs)
        sum(task.sum() for task in (*out.cls_logits, *out.center)).backward()
    assert (tokens, 128) in shapes.seen and (100, 128) in shapes.seen
    assert (100, tokens) not in shapes.seen and (tokens, 100) not in shapes.seen
    with sdpa_kernel(SDPBackend.MATH), Shapes() as shapes, torch.no_grad():
        head(*tiny_inputs)
    assert (100, tokens) in shapes.seen  # this is what an unfused attention looks like


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "kernel"),
    [
        (torch.float32, SDPBackend.EFFICIENT_ATTENTION),
        (torch.bfloat16, SDPBackend.FLASH_ATTENTION),
        (torch.float16, SDPBackend.FLASH_ATTENTION),
    ],
)
def test_cuda_has_a_fused_kernel_for_every_precision(build_tiny_head, tiny_inputs, dtype, kernel):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    bev, images, lidar2img, pad_shape = tiny_inputs
    head = build_tiny_head().eval().cuda()
    # Without the mathematical fallback torch raises where the kernel does not take the head's tensors.
    with torch.no_grad(), sdpa_kernel(kernel), torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        out = head(bev.cuda(), images.cuda(), lidar2img.cuda(), pad_shape)
    assert torch.isfinite(out.cls_logits[0]).all()
