from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqr_core.data import Frame
from aqr_core.infos import GroundTruth, Info, LidarInfo

WIDTH, HEIGHT = 160, 90
CAM2IMG = np.array([[100.0, 0, 80, 0], [0, 100, 45, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
AHEAD = np.array([[1.0, 0, 0, 0], [0, 0, -1, -0.3], [0, 1, 0, -0.7], [0, 0, 0, 1]])  # looks along the LiDAR's y
BEHIND = np.array([[-1.0, 0, 0, 0], [0, 0, -1, -0.3], [0, -1, 0, -0.7], [0, 0, 0, 1]])


def _info() -> Info:
    nothing = np.zeros(0, np.int64)
    gt = GroundTruth(np.zeros((0, 9)), nothing, nothing, nothing, (), np.zeros(0, bool), ())
    return Info("token", "scene", 0.0, "", "", np.eye(4), LidarInfo("points.bin", np.eye(4)), (), {}, gt)


@pytest.fixture(scope="session")
def new_frame() -> Callable[[int], Frame]:
    """Seed -> a frame with 200 points, 5 boxes with points inside, and two images whose pixels hold (u, v, 1)."""

    def build(seed: int) -> Frame:
        rng = np.random.default_rng(seed)
        boxes = np.zeros((5, 9))
        boxes[:, :3] = rng.uniform((-20, -20, -2), (20, 20, 1), (5, 3))
        boxes[:, 3:6] = rng.uniform(0.5, 6, (5, 3))
        boxes[:, 6] = rng.uniform(-np.pi, np.pi, 5)
        boxes[:, 7:] = rng.normal(0, 5, (5, 2))
        points = rng.uniform((-30, -30, -3, 0, 0), (30, 30, 3, 255, 0.5), (200, 5)).astype(np.float32)
        points[:100, :3] = np.repeat(boxes[:, :3], 20, axis=0) + rng.uniform(-1, 1, (100, 3))
        u, v = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
        image = np.stack([u, v, np.ones_like(u)], axis=-1)
        return Frame(
            info=_info(),
            dataroot=Path(),
            rng=rng,
            points=points,
            images=[image, image.copy()],
            cam2img=np.stack([CAM2IMG, CAM2IMG]),
            lidar2cam=np.stack([AHEAD, BEHIND]),
            gt_boxes=boxes,
            gt_labels=rng.integers(0, 10, 5),
        )

    return build
