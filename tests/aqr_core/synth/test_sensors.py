from __future__ import annotations

import cv2
import numpy as np
import pytest

from aqr_core.structures.boxes3d import points_in_boxes
from aqr_core.structures.frames import invert_rigid, project_points
from aqr_core.synth.camera import CameraRenderer
from aqr_core.synth.catalog import DETECTED
from aqr_core.synth.lidar import Lidar
from aqr_core.synth.rig import CAMERAS, LIDAR_MOUNT, RING_ELEVATIONS_RAD
from aqr_core.synth.world import SKIN_M, EgoMotion, Thing, World
from aqr_eval.nuscenes.geometry import pose_matrix, yaw_to_quaternion

SUN = np.array([0.6, 0.0, 0.8])
EGO = EgoMotion((500.0, 900.0), 0.8, 2.0, 0.05)
CAR = DETECTED[0]


def thing_seen(bearing, distance=12.0, speed=0.0, kind=CAR, turn=1.0):
    """An object at a bearing (radians, left of ahead) and a distance from the vehicle at t = 0."""
    direction = EGO.heading_rad + bearing
    yaw = EGO.heading_rad + turn
    return Thing(
        kind,
        kind.categories[0],
        np.array(kind.size_m),
        yaw,
        np.array(EGO.start) + distance * np.array([np.cos(direction), np.sin(direction)]),
        speed * np.array([np.cos(yaw), np.sin(yaw)]),
        np.array(kind.colour_bgr, dtype=float),
        kind.reflectivity,
    )


def world2img(channel, t, width=400):
    camera = CAMERAS[channel]
    ego2world = pose_matrix(EGO.position(t), yaw_to_quaternion(EGO.yaw(t)))
    cam2world = ego2world @ pose_matrix(camera.mount.position_m, camera.rotation_wxyz)
    projection = np.eye(4)
    projection[:3, :3] = camera.intrinsic(width)
    return projection @ invert_rigid(cam2world)


def test_lidar_returns_lie_on_surfaces_or_on_the_ground():
    things = tuple(
        thing_seen(bearing, 21 - 1.5 * i, kind=kind)
        for i, (bearing, kind) in enumerate(zip(np.linspace(-3, 3, 10), DETECTED, strict=True))
    )
    world, t = World(things, EGO, SUN), 1.0
    points = Lidar(512, 60.0).scan(world, t, np.random.default_rng(0))
    assert points.dtype == np.float32
    assert points.shape[1] == 5

    # Every return keeps the elevation of its ring, up to the roughness of the ground.
    horizontal = np.hypot(points[:, 0], points[:, 1])
    np.testing.assert_allclose(
        points[:, 2], horizontal * np.tan(RING_ELEVATIONS_RAD)[points[:, 4].astype(int)], atol=0.06
    )

    sensor2world = pose_matrix(EGO.position(t), yaw_to_quaternion(EGO.yaw(t))) @ pose_matrix(
        LIDAR_MOUNT.position_m, yaw_to_quaternion(LIDAR_MOUNT.yaw_rad)
    )
    there = points[:, :3].astype(np.float64) @ sensor2world[:3, :3].T + sensor2world[:3, 3]
    inside = points_in_boxes(there, world.boxes(t))
    solids = world.solids(t)
    pieces = np.column_stack([solids.centre, 2 * solids.half, solids.yaw])
    shrunk, grown = pieces.copy(), pieces.copy()
    shrunk[:, 3:6] -= 1.5 * SKIN_M
    grown[:, 3:6] += 1.5 * SKIN_M
    on_surface = points_in_boxes(there, grown).any(axis=1) & ~points_in_boxes(there, np.clip(shrunk, 1e-3, None)).any(
        axis=1
    )
    on_ground = np.abs(there[:, 2]) < 0.06
    assert (on_surface | on_ground).all()
    assert (inside.any(axis=1) | on_ground).all()  # what an object returns lies in its box
    assert (inside.sum(axis=0) > 5).all()
    for index, thing in enumerate(things):
        returned = inside[:, index] & ~on_ground
        # Intensity rises by three tenths of the material's from the middle to the front and falls towards the back.
        ahead = (there[returned, :2] - thing.xy(t)) @ np.array([np.cos(thing.yaw), np.sin(thing.yaw)])
        expected = (thing.reflectivity * (1 + 0.3 * ahead / (thing.size[0] / 2))).clip(0, 255)
        assert abs((points[returned, 3] - expected).mean()) < 8


def test_lidar_range_and_full_turn():
    empty = World((thing_seen(0.0, 30.0),), EGO, SUN)
    points = Lidar(360, 20.0).scan(empty, 0.0, np.random.default_rng(0))
    assert np.linalg.norm(points[:, :3], axis=1).max() <= 20.0 + SKIN_M
    lowest = points[points[:, 4] == 0]
    assert len(lowest) == 360
    np.testing.assert_allclose(np.hypot(lowest[:, 0], lowest[:, 1]), 1.84 / np.tan(np.deg2rad(30.67)), atol=0.04)


@pytest.mark.parametrize("channel", CAMERAS)
def test_every_camera_draws_the_object_where_its_calibration_says(channel):
    t = CAMERAS[channel].delay_us / 1e6
    world = World((thing_seen(CAMERAS[channel].mount.yaw_rad, speed=5.0),), EGO, SUN)
    renderer = CameraRenderer(CAMERAS[channel], (400, 225))
    image, visible, silhouette = renderer.render(world, t, np.random.default_rng(0))
    assert image.shape == (225, 400, 3)
    assert visible[0] == silhouette[0] > 500

    calm = cv2.medianBlur(image, 3)
    blue = calm[..., 0].astype(int) - calm[..., 2] > 40  # the car is blue; so is the sky, but not below the horizon
    blue[:120] = False
    rows, columns = np.nonzero(blue)
    body = world.solids(t)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3) * body.half[0]
    cos, sin = np.cos(body.yaw[0]), np.sin(body.yaw[0])
    corners = np.column_stack(
        [cos * signs[:, 0] - sin * signs[:, 1], sin * signs[:, 0] + cos * signs[:, 1], signs[:, 2]]
    )
    pixels, depth = project_points(world2img(channel, t), corners + body.centre[0])
    assert (depth > 0).all()
    assert abs(columns.min() - pixels[:, 0].min()) < 2
    assert abs(columns.max() + 1 - pixels[:, 0].max()) < 2
    assert abs(rows.max() + 1 - pixels[:, 1].max()) < 2


def test_a_nearer_object_covers_a_farther_one():
    near, far = thing_seen(0.0, 8.0, kind=DETECTED[3], turn=np.pi / 2), thing_seen(0.0, 16.0)
    renderer = CameraRenderer(CAMERAS["CAM_FRONT"], (400, 225))
    _, visible, silhouette = renderer.render(World((near, far), EGO, SUN), 0.0, np.random.default_rng(0))
    assert visible[0] == silhouette[0]
    assert visible[1] == 0
    assert silhouette[1] > 300


def test_a_reduced_rendering_is_enlarged_to_the_full_picture():
    world = World((thing_seen(0.0),), EGO, SUN)
    full, half = (
        CameraRenderer(CAMERAS["CAM_FRONT"], (400, 224), scale).render(world, 0.0, np.random.default_rng(0))[0]
        for scale in (1.0, 0.5)
    )
    assert full.shape == half.shape
    car = [np.argwhere(image[120:, :, 0].astype(int) - image[120:, :, 2] > 40).mean(axis=0) for image in (full, half)]
    np.testing.assert_allclose(car[0], car[1], atol=1.0)
