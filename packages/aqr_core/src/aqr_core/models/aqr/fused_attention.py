"""Plain attention by a fused kernel that also tells its log-sum-exp, and that kernel's backward pass.

With another output and log-sum-exp than its own the backward kernel serves attention that was corrected afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from aqr_core.errors import ConfigError
from aqr_core.models.precision import at_least_float32


def for_kernels(x: Tensor) -> Tensor:
    """`x` as the kernels here take it: half precision in float32, the channels of a row side by side.

    They do not check either: with other strides they read other numbers.
    """
    x = at_least_float32(x)
    return x if x.stride(-1) == 1 else x.contiguous()


def fused_forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Plain attention of what `for_kernels` gives, (B, A, Q, c), (B, A, T, c), (B, A, T, c), and its normaliser.

    Returns:
        (B, A, Q, c) output, (B, A, Q) log-sum-exp, and what `fused_backward` needs besides.
    """
    if query.is_cuda:
        if query.dtype == torch.float64:
            raise ConfigError(
                "attention_backend is 'window' with float64 tensors on a GPU, where no fused kernel takes them; "
                "use 'dense', or float32."
            )
        out, lse, seed, offset = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, compute_log_sumexp=True
        )
        return out, lse[..., : query.shape[2]], [seed, offset]
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
    return out, lse, []


def fused_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, lse: Tensor, state: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients to query, key and value of attention with probabilities `e^(s - lse)` and the output `out`."""
    if query.is_cuda:
        lse = F.pad(lse, (0, -lse.shape[-1] % 32), value=math.inf)  # the kernel's alignment
        grads = torch.ops.aten._scaled_dot_product_efficient_attention_backward(
            grad, query, key, value, None, out, lse, *state, 0.0, [True, True, True, False]
        )
        return grads[0], grads[1], grads[2]
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, query, key, value, out, lse, 0.0, False
    )
