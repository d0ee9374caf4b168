"""Where half precision is not enough.

A run's precision is one autocast around the whole model; weights and optimiser stay in float32. What stays in float32
nevertheless is `float32` of the detector's config, which names modules, and, built in because results would be wrong:

| part | where |
| --- | --- |
| points, cells, means of voxels | `HardVoxelize`, `HardSimpleVFE` |
| sparse encoder with its norms | `SparseEncoder.forward` |
| positional codes of queries and tokens, cells under queries | `PositionCoding.position_codes`, `locate_queries` |
| AQR: weights, maps, bias and its scale, window attention, gradient of the bias | `aqr` |
| task heads, box codes | `CmtHead.predict_boxes` |
| matching, losses, router loss | `DetectionCriterion`, `HungarianAssigner3D`, `SensorLoss`, `router_loss` |
| decoding of boxes | `CmtHead.decode` |

docs/precision.md says why.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from fnmatch import translate
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.registry import suggest

HALF = (torch.float16, torch.bfloat16)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return x.float() if x.dtype in HALF else x


def keep_float32(model: nn.Module, patterns: Sequence[str]) -> None:
    """Run every module whose dotted name matches a glob ('*' also crosses dots) without autocast, on float32 inputs.

    Args:
        model: changed in place.
        patterns: such as 'pts_backbone' or 'pts_bbox_head.transformer'.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    for pattern in patterns:
        matched = [module for name, module in modules.items() if re.match(translate(pattern), name)]
        if not matched:
            hint = suggest(pattern, [name for name, _ in model.named_children()])
            raise ConfigError(f"model.float32 names '{pattern}', which is no part of the model.{hint}")
        for module in matched:
            module.forward = partial(_without_autocast, module)


def _without_autocast(module: nn.Module, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401
    """Takes the place of `module.forward`; `partial` keeps the module copyable and picklable."""
    tensors = chain(module.parameters(), (x for x in inputs if isinstance(x, Tensor)))
    device = next((x.device.type for x in tensors), "cpu")
    # The meta device, on which shapes are worked out, knows no autocast.
    off = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with off:
        return type(module).forward(module, *map(_lift, inputs), **{name: _lift(x) for name, x in named.items()})


def _lift(x: Any) -> Any:  # noqa: ANN401
    if isinstance(x, Tensor):
        return at_least_float32(x)
    return type(x)(map(_lift, x)) if type(x) in (list, tuple) else x
