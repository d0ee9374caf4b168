"""Our rows of nine numbers beside mmdet3d's LiDAR boxes, which keep float32 and the centre of the bottom."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mmcv.ops import points_in_boxes_cpu
from mmdet3d.structures import LiDARInstance3DBoxes
from mmdet3d.structures.ops.box_np_ops import points_in_rbbox

from aqr_core.data.transforms.scene import move_boxes
from aqr_core.structures.boxes3d import (
    YAW,
    bottom_to_gravity,
    box_corners,
    gravity_to_bottom,
    points_in_boxes,
    wrap_angle,
)

# Coordinates of up to 60 m are known to 4e-6 m in float32; a motion and a size add a few such errors.
METRES = 5e-5
RADIANS = 2e-6  # of an angle up to 2 pi, and what sine and cosine make of it
THEIR_CORNERS = [7, 3, 0, 4, 6, 2, 1, 5]  # theirs in our order

LOW = np.array([-50, -50, -5, 0.1, 0.1, 0.1, -np.pi, -30, -30])
HIGH = np.array([50, 50, 5, 12, 5, 5, np.pi, 30, 30])
boxes_of_a_scene = (
    st.integers(0, 8)
    .flatmap(lambda n: npst.arrays(np.float64, (n, 9), elements=st.floats(0, 1, width=32)))
    .map(lambda shares: LOW + shares * (HIGH - LOW))
)
angles = st.floats(-3.2, 3.2)


def theirs_of(boxes: np.ndarray) -> LiDARInstance3DBoxes:
    return LiDARInstance3DBoxes(torch.from_numpy(gravity_to_bottom(boxes)).float(), box_dim=9)


def ours_of(boxes: LiDARInstance3DBoxes) -> np.ndarray:
    return bottom_to_gravity(boxes.tensor.double().numpy())


def assert_same_boxes(ours: np.ndarray, theirs: LiDARInstance3DBoxes) -> None:
    """Up to whole turns, which only `limit_yaw` takes out of theirs."""
    other = ours_of(theirs)
    turn = wrap_angle(ours[:, YAW] - other[:, YAW])
    np.testing.assert_allclose(turn, 0, atol=RADIANS)
    np.testing.assert_allclose(np.delete(ours, YAW, axis=1), np.delete(other, YAW, axis=1), atol=METRES, rtol=0)


def planar(matrix: np.ndarray, scale: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    motion = np.diag([scale, scale, scale, 1.0])
    motion[:2, :2] = matrix * scale
    motion[:3, 3] = shift
    return motion


@given(boxes_of_a_scene)
def test_the_gravity_centre(boxes: np.ndarray) -> None:
    theirs = theirs_of(boxes)
    np.testing.assert_allclose(theirs.gravity_center.numpy(), boxes[:, :3], atol=METRES)
    np.testing.assert_allclose(theirs.bottom_center.numpy(), gravity_to_bottom(boxes)[:, :3], atol=METRES)
    np.testing.assert_allclose(theirs.dims.numpy(), boxes[:, 3:6], atol=METRES)


@given(boxes_of_a_scene)
def test_a_box_given_by_its_gravity_centre_becomes_ours(boxes: np.ndarray) -> None:
    theirs = LiDARInstance3DBoxes(torch.from_numpy(boxes).float(), box_dim=9, origin=(0.5, 0.5, 0.5))
    assert_same_boxes(boxes, theirs)


@given(boxes_of_a_scene)
def test_corners(boxes: np.ndarray) -> None:
    np.testing.assert_allclose(theirs_of(boxes).corners.numpy()[:, THEIR_CORNERS], box_corners(boxes), atol=METRES)


@given(boxes_of_a_scene, angles)
def test_rotation(boxes: np.ndarray, angle: float) -> None:
    theirs = theirs_of(boxes)
    if len(boxes):
        theirs.rotate(angle)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert_same_boxes(move_boxes(boxes, planar(turn)), theirs)


@given(boxes_of_a_scene, st.sampled_from(["horizontal", "vertical"]))
def test_mirroring(boxes: np.ndarray, direction: str) -> None:
    theirs = theirs_of(boxes)
    theirs.flip(direction)
    mirror = np.diag([1.0, -1.0] if direction == "horizontal" else [-1.0, 1.0])
    assert_same_boxes(move_boxes(boxes, planar(mirror)), theirs)


@given(boxes_of_a_scene, st.floats(0.5, 2.0), st.tuples(*[st.floats(-5, 5)] * 3))
def test_scale_and_shift(boxes: np.ndarray, scale: float, shift: tuple[float, float, float]) -> None:
    theirs = theirs_of(boxes)
    theirs.scale(scale)
    theirs.translate(shift)
    assert_same_boxes(move_boxes(boxes, planar(np.eye(2), scale, shift)), theirs)


@given(boxes_of_a_scene, st.floats(-20, 20))
def test_yaw_is_wrapped_to_the_same_turn(boxes: np.ndarray, turn: float) -> None:
    boxes[:, YAW] += turn
    theirs = theirs_of(boxes)
    theirs.limit_yaw(offset=0.5, period=2 * np.pi)
    yaw = theirs.yaw.double().numpy()
    assert ((yaw >= -np.pi - RADIANS) & (yaw <= np.pi + RADIANS)).all()
    # An angle of 20 rad is known to 1e-6 rad in float32, and at -pi either end is the same angle.
    np.testing.assert_allclose(wrap_angle(wrap_angle(boxes[:, YAW]) - yaw), 0, atol=1e-5)


def points_of(boxes: np.ndarray, seed: int) -> np.ndarray:
    """Points in and around boxes, none within a millimetre of a face."""
    rng = np.random.default_rng(seed)
    boxes = boxes.astype(np.float32).astype(np.float64)
    local = rng.uniform(-1, 1, (len(boxes), 40, 3)) * boxes[:, None, 3:6]  # half of each edge beyond each face
    cos, sin = np.cos(boxes[:, YAW, None]), np.sin(boxes[:, YAW, None])
    x, y = cos * local[..., 0] - sin * local[..., 1], sin * local[..., 0] + cos * local[..., 1]
    points = (np.stack([x, y, local[..., 2]], axis=-1) + boxes[:, None, :3]).reshape(-1, 3)
    grown, shrunk = boxes.copy(), boxes.copy()
    grown[:, 3:6] += 2e-3
    shrunk[:, 3:6] -= 2e-3
    clear = (points_in_boxes(points, grown) == points_in_boxes(points, shrunk)).all(axis=1)
    return points[clear].astype(np.float32)


@given(boxes_of_a_scene.filter(len), st.integers(0, 1000))
def test_points_in_boxes(boxes: np.ndarray, seed: int) -> None:
    points = points_of(boxes, seed)
    ours = points_in_boxes(points.astype(np.float64), boxes)
    bottom = gravity_to_bottom(boxes)
    by_planes = points_in_rbbox(points.astype(np.float64), bottom[:, :7])  # what their databases are made with
    assert np.array_equal(ours, by_planes)
    theirs = torch.from_numpy(bottom[None, :, :7]).float()
    by_operator = points_in_boxes_cpu(torch.from_numpy(points)[None], theirs)[0].bool().numpy()
    assert np.array_equal(ours, by_operator)


def test_a_point_exactly_on_a_face_is_inside_in_ours() -> None:
    """On purpose: a box is closed. Of theirs the function is open, the operator too but for bottom and top."""
    box = np.array([[0.0, 0, 0, 2, 2, 2, 0, 0, 0]])
    faces = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    assert points_in_boxes(faces, box).all()
    bottom = gravity_to_bottom(box)
    assert not points_in_rbbox(faces.astype(np.float64), bottom[:, :7]).any()
    by_operator = points_in_boxes_cpu(torch.from_numpy(faces)[None], torch.from_numpy(bottom[None, :, :7]).float())
    assert by_operator.flatten().tolist() == [0, 0, 0, 0, 1, 1]


def test_no_boxes_at_all() -> None:
    empty = np.zeros((0, 9))
    assert box_corners(empty).shape == theirs_of(empty).corners.numpy().shape == (0, 8, 3)
    assert len(move_boxes(empty, np.eye(4))) == len(theirs_of(empty)) == 0
