"""A plain model beside one whose weights are shared out: what predicts and is published there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from aqr_train.engines.base import Engine


@contextmanager
def filled(replica: nn.Module, engine: Engine) -> Iterator[nn.Module]:
    """The replica with the engine's weights and statistics on its device; back on the CPU afterwards."""
    held = dict(replica.named_parameters())
    with torch.no_grad():
        for name, value in engine.whole_parameters():
            held[name].copy_(value)
    replica.load_state_dict(dict(engine.plain_model.named_buffers()), strict=False)
    try:
        yield replica.to(engine.accelerator.device)
    finally:
        replica.to("cpu")
