"""Memory of the cross attention at the size of the R50 fusion model in training: far below one (A, Q, T) matrix."""

from __future__ import annotations

import subprocess
import sys

ATTEND = """
import resource
import torch
from aqr_core.models.head.attention import CrossAttention

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

torch.set_num_threads(1)
attention = CrossAttention(256, 8, dropout=0.1)
query = torch.randn(1, 1730, 256, requires_grad=True)
memory = torch.randn(1, 128 * 128 + 6 * 20 * 50, 256, requires_grad=True)
before = peak_mib()
attention(query, query, memory, memory).square().sum().backward()
assert query.grad.isfinite().all() and memory.grad.isfinite().all()
print(peak_mib() - before)
"""


def test_forward_and_backward_stay_below_a_quarter_of_the_logits():
    child = subprocess.run([sys.executable, "-c", ATTEND], capture_output=True, text=True, check=True)
    logits_mib = 8 * 1730 * 22384 * 4 / 1024**2  # 1182; softmax and its gradient would be two more of them
    assert float(child.stdout) < logits_mib / 4
