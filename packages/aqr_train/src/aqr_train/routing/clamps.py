"""How much of a weight map sits at its clamp."""

from __future__ import annotations

from typing import Any

from aqr_core.models.aqr import AqrOutput


def count_clamped(renderer: Any, aqr: AqrOutput) -> dict[str, tuple[int, int]]:  # noqa: ANN401 - a WeightRenderer
    """'bev' and 'image' -> cells at the clamp, and all cells; empty without maps or without clamp.

    Args:
        renderer: of the head that made `aqr`, None in v3.
        aqr: what it made.
    """
    if aqr.maps is None or not renderer.normalize_weights:
        return {}
    maps = {"bev": aqr.maps.bev, "image": aqr.maps.image}
    return {
        name: (int((values >= renderer.clamp_max).sum()), values.numel())
        for name, values in maps.items()
        if values is not None
    }
