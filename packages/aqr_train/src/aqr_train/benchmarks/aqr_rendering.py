"""The weight renderer of v1 and v2 over the loop that its tests take as reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aqr_core.models.aqr import QueryCells, WeightMaps
from aqr_core.registry import MODELS, build
from aqr_train.benchmarks.model_runs import Run
from aqr_train.benchmarks.naive_renderer import render_naively
from aqr_train.benchmarks.parts import Mark
from aqr_train.benchmarks.turns import BACKWARD, FORWARD, SideFigures, take_turns

CPU = torch.device("cpu")
NAIVE, RENDERER = "naive double loop", "WeightRenderer"
_ROUNDS = 3  # at most: a round of the loop takes half a minute


def compare_renderers(block: Mapping[str, Any], cells: QueryCells, rounds: int) -> dict[str, dict[str, SideFigures]]:
    """Passes -> figures, of a forward pass without graph and of a forward and a backward pass.

    The loop always runs on the CPU, where it is fastest.

    Args:
        block: `renderer_config`.
        cells: of the queries that are rendered.
        rounds: `_ROUNDS` at most.
    """
    renderers = {device: build(block, MODELS).to(device) for device in (CPU, cells.in_bev.device)}
    weights = 2 * torch.rand(*cells.in_bev.shape, 2, generator=torch.Generator().manual_seed(0))
    device, on_cpu = cells.in_bev.device, _to_cpu(cells)
    own_weights = weights.to(device)
    results = {}
    for title, learns in ((FORWARD, False), (f"{FORWARD} and {BACKWARD}", True)):
        sides = {
            NAIVE: _rendering(lambda w: render_naively(renderers[CPU], w, on_cpu), weights, learns),
            RENDERER: _rendering(lambda w: renderers[device](w, cells), own_weights, learns),
        }
        results[title] = take_turns(sides, device, min(rounds, _ROUNDS), memory=False)
    return results


def _rendering(render: Callable[[Tensor], WeightMaps], weights: Tensor, learns: bool) -> Run:
    def run(mark: Mark) -> None:
        leaf = weights.clone().requires_grad_(learns)
        maps = render(leaf)
        mark(FORWARD)
        if learns:
            parts = [part.sum() for part in (maps.bev, maps.image) if part is not None]
            torch.autograd.backward(parts)
            mark(BACKWARD)

    return run


def _to_cpu(cells: QueryCells) -> QueryCells:
    names = ("bev_cell", "in_bev", "image_cell", "visible")
    return replace(cells, **{name: getattr(cells, name).cpu() for name in names})
