from __future__ import annotations

import numpy as np

from aqr_core.structures import frames


def test_projection_by_hand():
    cam2img = np.array([[100.0, 0, 50], [0, 200, 60], [0, 0, 1]])
    shift = np.eye(4)
    shift[2, 3] = 1  # the camera stands one metre behind the origin, looking along z
    lidar2img = frames.lidar2img_from(cam2img, shift)
    pixels, depth = frames.project_points(lidar2img, np.array([[1.0, 2, 3], [0, 0, -1], [0, 0, -5]]))
    np.testing.assert_allclose(depth, [4, 0, -4])
    np.testing.assert_allclose(pixels[0], [50 + 25, 60 + 100])
    assert np.isfinite(pixels).all()
