"""A scene that can be worked out by hand: 32 x 32 BEV cells of 2 m, one camera of 8 x 22 cells of 16 px."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from aqr_core.models.aqr import AqrOutput, MapShapes, WeightMaps, locate_queries
from aqr_train.pictures.scene import RoutedScene
from aqr_train.pictures.windows import MapGrid

RANGE = [-32.0, -32.0, -5.0, 32.0, 32.0, 3.0]
# Pixels times depth of a camera at the origin that looks along +y: u = 176 + 100 x / y, v = 64 - 100 z / y.
LIDAR2IMG = torch.tensor([[100.0, 176, 0, 0], [0, 64, -100, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)


@pytest.fixture
def scene() -> Callable[..., RoutedScene]:
    """`scene(points, ...)` has one query per point, given in metres; the object of a query lies on it."""

    def build(
        points: list[list[float]], *, weights: list[list[float]] | None = None, variant: str = "v3", sensors: str = "lc"
    ) -> RoutedScene:
        metres = torch.tensor([points], dtype=torch.float64)
        low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
        shapes = MapShapes((32, 32) if "l" in sensors else None, (1, 8, 22) if "c" in sensors else None)
        cells = locate_queries(
            (metres - low) / (high - low),
            LIDAR2IMG[None, None],
            shapes=shapes,
            pad_shape=(128, 352),
            pc_range=RANGE,
            cell_m=(2.0, 2.0),
        )
        number = len(points)
        given = torch.tensor([weights or [[0.2, -0.1]] * number])
        maps = WeightMaps(
            None if shapes.bev is None else torch.ones(1, 32, 32),
            None if shapes.image is None else torch.ones(1, 1, 8, 22),
        )
        boxes = np.zeros((number, 9))
        boxes[:, :3], boxes[:, 3:6] = points, (4.0, 2.0, 1.5)
        return RoutedScene(
            token="token",
            points=np.zeros((5, 3)),
            images=np.full((1 if "c" in sensors else 0, 128, 352, 3), 128, np.uint8),
            cameras=("CAM_FRONT",),
            lidar2img=LIDAR2IMG[None].numpy(),
            true_boxes=boxes,
            boxes=boxes,
            scores=np.linspace(0.9, 0.5, number),
            labels=np.zeros(number, np.int64),
            class_names=("car",),
            aqr=AqrOutput(
                given,
                cells,
                scale=torch.tensor(2.5) if variant == "v3" else None,
                maps=None if variant == "v3" else maps,
            ),
            neutral=0.0 if variant == "v3" else 1.0,
            edges=(4, 5),
            views="all",
            biased=variant == "v3",
            bev_grid=MapGrid(-32.0, -32.0, 2.0, 2.0, 32, 32) if "l" in sensors else None,
            image_grid=MapGrid(0.0, 0.0, 16.0, 16.0, 8, 22) if "c" in sensors else None,
        )

    return build
