"""What AQR hands to the head, to logs and to pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from aqr_core.models.aqr.projection import QueryCells


@dataclass(frozen=True)
class WeightMaps:
    """Query weights spread over the feature maps (v1 and v2); 1 means unchanged. None for an absent modality.

    Attributes:
        bev: (B, Y, X) from the LiDAR weights.
        image: (B, N, H, W) from the camera weights.
    """

    bev: Tensor | None
    image: Tensor | None

    def detach(self) -> WeightMaps:
        """The same without graph."""
        return WeightMaps(*(None if part is None else part.detach() for part in (self.bev, self.image)))


@dataclass(frozen=True)
class AqrOutput:
    """What AQR decided for the matching queries.

    Attributes:
        weights: (B, Q, 2) lidar and camera weight.
        cells: where those queries fall on the maps.
        scale: () scale of the attention bias (v3).
        maps: what the features were multiplied by (v1, v2).
        feature_change: () mean over the tokens of |F' - F| / |F| (v1, v2).
    """

    weights: Tensor
    cells: QueryCells
    scale: Tensor | None = None
    maps: WeightMaps | None = None
    feature_change: Tensor | None = None

    def detach(self) -> AqrOutput:
        """The same without graph."""
        free = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "cells"}
        return replace(self, **{name: value.detach() for name, value in free.items() if value is not None})

    @torch.no_grad()
    def scalars(self) -> dict[str, float]:
        """Figures for logs.

        Of both weights mean, deviation and range, and the share of queries that prefers each modality; `bias_scale`
        in v3; of both maps mean, deviation and maximum, and `feature_change` in v1 and v2.
        """
        figures = {} if self.scale is None else {"bias_scale": self.scale}
        for name, weight in zip(("lidar", "camera"), self.weights.float().unbind(-1), strict=True):
            figures[f"weight_{name}_mean"] = weight.mean()
            figures[f"weight_{name}_std"] = weight.std(correction=0)
            figures[f"weight_{name}_min"] = weight.min()
            figures[f"weight_{name}_max"] = weight.max()
        lidar, camera = self.weights.unbind(-1)
        figures["prefer_lidar"] = (lidar > camera).float().mean()
        figures["prefer_camera"] = (camera > lidar).float().mean()
        maps = WeightMaps(None, None) if self.maps is None else self.maps
        for name, values in (("bev", maps.bev), ("image", maps.image)):
            if values is not None:
                figures[f"map_{name}_mean"] = values.float().mean()
                figures[f"map_{name}_std"] = values.float().std(correction=0)
                figures[f"map_{name}_max"] = values.float().max()
        if self.feature_change is not None:
            figures["feature_change"] = self.feature_change
        numbers = torch.stack([value.float() for value in figures.values()]).tolist()  # one wait for the device
        return dict(zip(figures, numbers, strict=True))
