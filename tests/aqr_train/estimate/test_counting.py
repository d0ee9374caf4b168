"""Formulas against real engines on two processes."""

from __future__ import annotations

import pytest
import torch

from aqr_train.estimate.counting import held_bytes, held_storages
from aqr_train.estimate.processes import compare

PADDING = 2e-3  # of the bytes: padding of partitions, and the step counters of AdamW


def test_held_bytes_see_gradients_and_count_views_once() -> None:
    before = held_storages()
    weight = torch.ones(10, requires_grad=True)
    view = weight.detach()[:5]
    weight.sum().backward()
    assert held_bytes(before) == 2 * 40
    assert view.numel() == 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["DDP", "ZeRO-2"])
def test_formulas_hold_on_two_processes(kind: str) -> None:
    if kind.startswith("ZeRO"):
        pytest.importorskip("deepspeed")
    found = compare(kind, 2, "cmt_aqr_tiny", [], accumulate=2)
    assert found.sent.keys() == found.expected.keys()
    for collective, expected in found.expected.items():
        few = 1024 if collective == "broadcast" else 0  # DDP sends some statistics in a bucket below `SMALL`
        assert found.sent[collective] == pytest.approx(expected, rel=PADDING, abs=few)
    assert found.lasting == pytest.approx(found.states.lasting, rel=PADDING)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_holds_at_least_the_states() -> None:
    found = compare("DDP", 1, "cmt_aqr_tiny", [], accumulate=1)
    assert found.cuda_peak is not None
    assert found.cuda_peak >= found.states.device
