"""The tiny dataset's numbers, worked out by hand (its layout is described in conftest.py)."""

from __future__ import annotations

import numpy as np
import pytest

from aqr_core.infos import Infos, build_infos
from aqr_core.structures.frames import project_points


@pytest.fixture
def infos(tiny_root, tmp_path):
    return Infos.open(build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"])


def test_box_in_the_lidar_frame(infos):
    gt = infos[0].gt
    assert len(gt) == 2  # the animal is left out
    # The LiDAR is at (101, 200, 2): the car is 9 m ahead (y), 5 m to the left (-x), 1 m below, and points ahead.
    np.testing.assert_allclose(gt.boxes[0], [-5, 9, -1, 4, 2, 1.5, np.pi / 2, 0, 5], atol=1e-12)
    assert gt.attributes == ("vehicle.moving", "")
    assert gt.instances == ("i0", "i1")
    assert gt.labels.tolist() == [0, 5]  # car, barrier
    assert gt.valid.tolist() == [True, False]
    assert np.isnan(gt.boxes[1, 7:]).all()  # seen in one keyframe only


def test_half_a_second_later(infos):
    # The vehicle has moved 5 m, the car 2.5 m.
    np.testing.assert_allclose(infos[1].gt.boxes[0, :3], [-5, 6.5, -1], atol=1e-12)
    assert (infos[1].prev, infos[1].next, infos[1].scene) == ("sample0", "", "scene-0103")
    assert infos[1].timestamp == 0.5


def test_sweeps_are_newest_first_and_moved_back_by_the_ego_motion(infos):
    sweeps = infos[1].sweeps
    assert [sweep.age for sweep in sweeps] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert sweeps[-1].path == infos[0].lidar.path
    for sweep in sweeps:
        expected = np.eye(4)
        expected[1, 3] = -10 * sweep.age  # the LiDAR was that far behind, along its own y
        np.testing.assert_allclose(sweep.sweep2lidar, expected, atol=1e-12)


def test_projection_goes_through_both_ego_poses(infos):
    # The camera took its image 20 ms before the LiDAR, when it was at 102 - 0.2 = 101.8, at height 1.5.
    camera = infos[0].cameras["CAM_FRONT"]
    lidar_point = np.array([[0.0, 9.0, -0.5]])  # global (110, 200, 1.5): on the optical axis
    pixels, depth = project_points(camera.lidar2img, lidar_point)
    np.testing.assert_allclose(pixels, [[32, 16]], atol=1e-9)
    np.testing.assert_allclose(depth, [8.2], atol=1e-9)
    one_right_one_up = lidar_point + [[1.0, 0.0, 1.0]]
    np.testing.assert_allclose(
        project_points(infos[0].lidar2img("CAM_FRONT"), one_right_one_up)[0], [[32 + 40 / 8.2, 16 - 40 / 8.2]]
    )
