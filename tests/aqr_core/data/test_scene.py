from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.data.transforms import CustomRandomFlip3D, GlobalRotScaleTransAll
from aqr_core.data.transforms.scene import move_scene
from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import points_in_boxes
from aqr_core.structures.frames import project_points

SEEDS = st.integers(0, 2**32 - 1)
TRANSFORMS = [
    GlobalRotScaleTransAll(),
    GlobalRotScaleTransAll(rot_range=(-3.1, 3.1), scale_ratio_range=(0.5, 2), translation_std=(5, 5, 5)),
    CustomRandomFlip3D(1, 0),
    CustomRandomFlip3D(0, 1),
    CustomRandomFlip3D(1, 1),
]


def pixels_of(frame):
    for lidar2img in frame.lidar2img:
        pixels, depth = project_points(lidar2img, frame.points[:, :3])
        yield np.where(depth[:, None] > 1, pixels, 0), depth


@pytest.mark.parametrize("transform", TRANSFORMS)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_everything_moves_together(new_frame, transform, seed):
    frame = new_frame(seed)
    pixels, depths = zip(*pixels_of(frame), strict=True)
    boxes = frame.gt_boxes
    slack = np.zeros_like(boxes)
    slack[:, 3:6] = 1e-3
    surely, perhaps = (points_in_boxes(frame.points, boxes + sign * slack) for sign in (-1, 1))
    later = boxes.copy()
    later[:, :2] += 0.5 * boxes[:, 7:9]

    other = new_frame(seed)
    other.gt_boxes = later
    transform(frame)
    transform(other)

    # A point is still on its pixel,
    for (now, depth), before, depth_before in zip(pixels_of(frame), pixels, depths, strict=True):
        near = depth_before > 1.01
        np.testing.assert_allclose(now[near], before[near], atol=0.05)
        np.testing.assert_allclose(depth, depth_before, atol=1e-3)
    # still in its box,
    inside = points_in_boxes(frame.points, frame.gt_boxes)
    assert (inside | ~surely).all() and (perhaps | ~inside).all()
    # and a box still drives to where it will be.
    np.testing.assert_allclose(other.gt_boxes[:, :2], frame.gt_boxes[:, :2] + 0.5 * frame.gt_boxes[:, 7:9], atol=1e-9)
    assert ((frame.gt_boxes[:, 6] >= -np.pi) & (frame.gt_boxes[:, 6] < np.pi)).all()
    # Intensity and age are no coordinates.
    np.testing.assert_array_equal(frame.points[:, 3:], new_frame(seed).points[:, 3:])


def test_a_quarter_turn_by_hand(new_frame):
    frame = new_frame(0)
    frame.gt_boxes = np.array([[3.0, 4, 1, 4, 2, 1.5, 0.1, 5, 6]])
    motion = np.eye(4)
    motion[:2, :2] = 2 * np.array([[0, -1], [1, 0]])
    motion[2, 2] = 2
    motion[:3, 3] = (10, 0, 0)
    move_scene(frame, motion)
    np.testing.assert_allclose(frame.gt_boxes, [[2, 6, 2, 8, 4, 3, 0.1 + np.pi / 2, -12, 10]], atol=1e-12)


def test_mirrors_by_hand(new_frame):
    box = np.array([[3.0, 4, 1, 4, 2, 1.5, 0.1, 5, 6]])
    frame = new_frame(0)
    frame.gt_boxes = box
    CustomRandomFlip3D(1, 0)(frame)
    np.testing.assert_allclose(frame.gt_boxes, [[3, -4, 1, 4, 2, 1.5, -0.1, 5, -6]], atol=1e-12)
    frame.gt_boxes = box
    CustomRandomFlip3D(0, 1)(frame)
    np.testing.assert_allclose(frame.gt_boxes, [[-3, 4, 1, 4, 2, 1.5, np.pi - 0.1, -5, 6]], atol=1e-12)


def test_unknown_velocity_stays_unknown_and_alone(new_frame):
    frame = new_frame(0)
    frame.gt_boxes[2, 7:] = np.nan
    GlobalRotScaleTransAll()(frame)
    CustomRandomFlip3D(1, 1)(frame)
    assert np.isnan(frame.gt_boxes).sum() == 2
    assert np.isnan(frame.gt_boxes[2, 7:]).all()


def test_an_empty_frame(new_frame):
    frame = new_frame(0)
    frame.points, frame.gt_boxes = frame.points[:0], frame.gt_boxes[:0]
    GlobalRotScaleTransAll()(frame)
    CustomRandomFlip3D(1, 1)(frame)
    assert frame.points.shape == (0, 5)
    assert frame.gt_boxes.shape == (0, 9)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GlobalRotScaleTransAll(scale_ratio_range=(0, 1)), "positive scales"),
        (lambda: GlobalRotScaleTransAll(translation_std=(1,)), "three stds"),
        (lambda: CustomRandomFlip3D(1.5, 0), "a flip ratio is 1.5"),
    ],
)
def test_wrong_parameters(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
