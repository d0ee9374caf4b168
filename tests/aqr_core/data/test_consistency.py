"""Points, boxes, velocities, matrices and pixels stay one scene, whatever the pipeline does.

What the cameras' `lidar2cam` says about the motion of the scene is taken for true; everything else must follow it. The
images of `new_frame` hold their own pixel coordinates, so a moved image itself says where a point should be.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.data import Frame, NuScenesDataset, Pipeline
from aqr_core.data.faults import Fault
from aqr_core.data.transforms import (
    CustomRandomFlip3D,
    GlobalRotScaleTransAll,
    GlobalRotScaleTransImage,
    ResizeCropFlipImage,
)
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.boxes3d import points_in_boxes
from aqr_core.structures.frames import project_points, transform_points

SEEDS = st.integers(0, 2**32 - 1)
RANGE = (-54, -54, -5, 54, 54, 3)
WIDTH, HEIGHT = 160, 90
CLASSES = ("car", "truck", "construction_vehicle", "bus", "trailer")  # the labels that `marked` gives
IMAGE = dict(final_dim=(40, 100), resize_lim=(0.6, 1.1), rand_flip=True)
STEPS = [
    dict(type="GlobalRotScaleTransAll"),
    dict(type="GlobalRotScaleTransAll", rot_range=(-3.1, 3.1), scale_ratio_range=(0.5, 2), translation_std=(5, 5, 1)),
    dict(type="GlobalRotScaleTransImage"),
    dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=1, flip_ratio_bev_vertical=0),
    dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=0, flip_ratio_bev_vertical=1),
    dict(type="CustomRandomFlip3D", flip_ratio_bev_horizontal=1, flip_ratio_bev_vertical=1),
    dict(type="PointsRangeFilter", point_cloud_range=(-25, -15, -2, 10, 25, 2)),
    dict(type="ObjectRangeFilter", point_cloud_range=(-15, -20, -5, 20, 12, 3)),
    dict(type="ObjectNameFilter", classes=CLASSES[1:4]),
    dict(type="PointShuffle"),
    dict(type="ResizeCropFlipImage", data_aug_conf=IMAGE, training=True),
    dict(type="ResizeCropFlipImage", data_aug_conf=IMAGE, training=False),
    dict(type="NormalizeMultiviewImage", mean=(0, 0, 0), std=(1, 1, 1)),
    dict(type="PadMultiViewImage", size_divisor=32),
]
TRAIN = [  # of the fusion configs, in small
    STEPS[0],
    dict(type="CustomRandomFlip3D"),
    dict(type="PointsRangeFilter", point_cloud_range=RANGE),
    dict(type="ObjectRangeFilter", point_cloud_range=RANGE),
    dict(type="ObjectNameFilter", classes=CLASSES),
    *STEPS[9:11],
    *STEPS[12:],
]
TEST = STEPS[11:]
# These fill a frame, change colours or add objects; each has tests of its own.
MOVE_NOTHING = {"RandomImageGain", "ModalMask3D", "ObjectSample", "UnifiedObjectSample"}


def name_of(steps):
    return "-".join(step["type"] for step in steps)


def marked(frame: Frame) -> Frame:
    """Points carry their number as intensity, boxes as label, so that they are known again."""
    frame.points[:, 3] = np.arange(len(frame.points))
    frame.gt_labels = np.arange(len(frame.gt_boxes))
    return frame


def motion_of(before: Frame, after: Frame) -> np.ndarray:
    """(4, 4) from the scene before to the scene after, as the cameras have it."""
    motions = np.linalg.inv(after.lidar2cam) @ before.lidar2cam
    np.testing.assert_allclose(motions, motions[:1].repeat(len(motions), axis=0), atol=1e-9)
    linear = motions[0, :3, :3]
    scale = np.cbrt(abs(np.linalg.det(linear)))
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(linear[2], (0, 0, scale), atol=1e-12)  # the ground stays the ground
    return motions[0]


def corners(boxes: np.ndarray) -> np.ndarray:
    """(n, 9) -> (n, 8, 3); the first four at the front."""
    signs = np.array(list(product((1, -1), repeat=3))) / 2
    x, y, z = (boxes[:, None, 3:6] * signs).transpose(2, 0, 1)
    cos, sin = np.cos(boxes[:, 6:7]), np.sin(boxes[:, 6:7])
    return boxes[:, None, :3] + np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)


def assert_one_scene(before: Frame, after: Frame) -> None:
    motion = motion_of(before, after)
    numbers, labels = after.points[:, 3].astype(int), after.gt_labels
    assert len(set(numbers)) == len(numbers) and len(set(labels)) == len(labels)

    # Points and boxes moved as the cameras did.
    np.testing.assert_allclose(
        after.points[:, :3], transform_points(motion, before.points[numbers, :3].astype(np.float64)), atol=1e-4
    )
    np.testing.assert_array_equal(after.points[:, 4], before.points[numbers, 4])
    old, new = before.gt_boxes[labels], after.gt_boxes
    expected = transform_points(motion, corners(old).reshape(-1, 3)).reshape(-1, 8, 3)
    nearest = np.linalg.norm(corners(new)[:, :, None] - expected[:, None], axis=-1).argmin(axis=2)
    matched = np.take_along_axis(expected, nearest[..., None], axis=1)
    np.testing.assert_allclose(corners(new), matched, atol=1e-9)
    assert (np.sort(nearest, axis=1) == np.arange(8)).all()  # corner to corner, a mirror swaps left and right
    assert (nearest[:, :4] < 4).all()  # and the front stays the front
    np.testing.assert_allclose(new[:, 7:], old[:, 7:] @ motion[:2, :2].T, atol=1e-9)

    # Points are in the boxes that they were in, as far as rounding lets one say.
    slack = np.zeros_like(old)
    slack[:, 3:6] = 1e-3
    inside = points_in_boxes(after.points, new)
    surely, perhaps = (points_in_boxes(before.points[numbers], old + sign * slack) for sign in (-1, 1))
    assert (inside | ~surely).all() and (perhaps | ~inside).all()

    # A point lies on the pixel that it was on.
    for i, image in enumerate(after.images):
        source, depth = project_points(before.lidar2img[i], before.points[numbers, :3])
        pixels, depth_after = project_points(after.lidar2img[i], after.points[:, :3])
        scale = np.abs(after.cam2img[i, 0, 0]) / before.cam2img[i, 0, 0]
        np.testing.assert_allclose(depth_after, depth, atol=1e-3)
        seen = (depth > 0.5) & (source > 1).all(axis=1) & (source < (WIDTH - 2, HEIGHT - 2)).all(axis=1)
        seen &= (pixels > 0).all(axis=1) & (pixels < np.array(image.shape[1::-1]) - 1).all(axis=1)
        columns, rows = np.rint(pixels[seen]).astype(int).T
        sampled = image[rows, columns]
        content = sampled[:, 2] == 1  # neither padding nor its blend with the border
        # Rounding to a pixel, the half pixels of mirror and resize, the rounded size: two target pixels.
        assert (np.abs(sampled[content, :2] - source[seen][content]) < 2 / scale).all()


def test_every_transform_that_moves_something_is_here():
    own = {name for name, cls in TRANSFORMS.module_dict.items() if cls.__module__.startswith("aqr_core.")}
    own -= {name for name in own if issubclass(TRANSFORMS.get(name), Fault)}  # these take the scene apart on purpose
    loading = {name for name in own if name.startswith("Load")}
    assert own - loading - MOVE_NOTHING == {step["type"] for step in STEPS}


@pytest.mark.parametrize("steps", [*([step] for step in STEPS), TRAIN, TEST], ids=name_of)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_scene_stays_one(new_frame, steps, seed):
    before, after = marked(new_frame(seed)), marked(new_frame(seed))
    after.classes = CLASSES
    Pipeline(steps)(after)
    assert_one_scene(before, after)


def test_the_law_notices_what_it_should(new_frame):
    """Each of upstream's or anyone's mistakes, made on purpose."""

    def turned_against_the_cameras(frame):
        GlobalRotScaleTransImage((0.3, 0.3), (1, 1))(frame)
        frame.gt_boxes[:, 6] -= 0.6

    def velocity_left_behind(frame):
        velocity = frame.gt_boxes[:, 7:].copy()
        CustomRandomFlip3D(1, 0)(frame)
        frame.gt_boxes[:, 7:] = velocity

    def image_mirrored_alone(frame):
        frame.images = [image[:, ::-1] for image in frame.images]

    def one_camera_moved(frame):
        frame.lidar2cam[0, :3, 3] += 0.1

    def front_and_back_swapped(frame):
        frame.gt_boxes[:, 6] += np.pi

    for mistake in (
        turned_against_the_cameras,
        velocity_left_behind,
        image_mirrored_alone,
        one_camera_moved,
        front_and_back_swapped,
    ):
        before, after = marked(new_frame(5)), marked(new_frame(5))
        mistake(after)
        with pytest.raises(AssertionError):
            assert_one_scene(before, after)


def test_yaw_counts_counter_clockwise(new_frame):
    """A quarter turn takes what is ahead (+y) to the left (-x), in the boxes as in the points."""
    for transform in (
        GlobalRotScaleTransAll((np.pi / 2, np.pi / 2), (1, 1), (0, 0, 0)),
        GlobalRotScaleTransImage((np.pi / 2, np.pi / 2), (1, 1)),
    ):
        frame = new_frame(0)
        frame.points[0, :3] = (0, 10, 1)
        frame.gt_boxes[0] = (0, 10, 1, 4, 2, 1.5, 0.25, 0, 5)
        transform(frame)
        np.testing.assert_allclose(frame.points[0, :3], (-10, 0, 1), atol=1e-5)
        np.testing.assert_allclose(frame.gt_boxes[0], (-10, 0, 1, 4, 2, 1.5, 0.25 + np.pi / 2, -5, 0), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, angle=st.floats(-3.1, 3.1), scale=st.floats(0.5, 2))
def test_what_undoes_itself(new_frame, seed, angle, scale):
    def same(frame, other):
        np.testing.assert_allclose(frame.points, other.points, atol=1e-4)
        np.testing.assert_allclose(frame.gt_boxes[:, :6], other.gt_boxes[:, :6], atol=1e-9)
        turn = frame.gt_boxes[:, 6] - other.gt_boxes[:, 6]
        np.testing.assert_allclose(np.cos(turn), 1, atol=1e-12)
        np.testing.assert_allclose(frame.gt_boxes[:, 7:], other.gt_boxes[:, 7:], atol=1e-9)
        np.testing.assert_allclose(frame.lidar2img, other.lidar2img, atol=1e-9)

    still = GlobalRotScaleTransAll((0, 0), (1, 1), (0, 0, 0))
    there = GlobalRotScaleTransAll((angle, angle), (scale, scale), (0, 0, 0))
    back = GlobalRotScaleTransAll((-angle, -angle), (1 / scale, 1 / scale), (0, 0, 0))
    flips = [CustomRandomFlip3D(x, y) for x, y in ((1, 0), (0, 1), (1, 1), (0, 0))]
    whole = ResizeCropFlipImage(dict(final_dim=(HEIGHT, WIDTH)), training=False)
    for steps in ([still], [there, back], *([flip, flip] for flip in flips), flips[:3], [whole]):
        frame = new_frame(seed)
        Pipeline(steps)(frame)
        same(frame, new_frame(seed))


@pytest.mark.parametrize(
    ("final_dim", "resize_lim", "scale", "crop_y"),
    [((320, 800), (0.47, 0.625), 0.5, 130), ((640, 1600), (0.94, 1.25), 1.0, 260)],
)
def test_test_images_of_the_official_configs(new_frame, final_dim, resize_lim, scale, crop_y):
    frame = new_frame(0)
    frame.images = [np.zeros((900, 1600, 3), np.uint8)] * 2
    before = frame.cam2img.copy()
    conf = dict(final_dim=final_dim, resize_lim=resize_lim, rand_flip=True)
    Pipeline([dict(type="ResizeCropFlipImage", data_aug_conf=conf, training=False), STEPS[-1]])(frame)
    assert [image.shape[:2] for image in frame.images] == [final_dim] * 2  # both sides divide by 32 already
    before[:, :2, :3] *= scale
    before[:, 1, 2] -= crop_y
    np.testing.assert_allclose(frame.cam2img, before, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, low=st.floats(0.45, 1.2))
def test_intrinsics_after_resize_crop_and_flip(new_frame, seed, low):
    """K[:2,:3] = A K[:2,:3] and K[:2,2] += b, with A = s I and b = -crop; the flip maps u to final width - u."""
    height, width = 40, 100
    frame = new_frame(seed)
    old = frame.cam2img.copy()
    ResizeCropFlipImage(dict(final_dim=(height, width), resize_lim=(low, 1.3 * low), rand_flip=True))(frame)
    new = frame.cam2img
    flip, scale = new[0, 0, 0] < 0, abs(new[0, 0, 0]) / old[0, 0, 0]
    assert low <= scale <= 1.3 * low
    crop_x = scale * old[0, 0, 2] - ((width - new[0, 0, 2]) if flip else new[0, 0, 2])
    crop_y = int(HEIGHT * scale + 1e-9) - height
    assert abs(crop_x - round(crop_x)) < 1e-9 and 0 <= round(crop_x) <= max(0, int(WIDTH * scale) - width)
    resize, offset = scale * np.eye(2), -np.array([round(crop_x), crop_y])
    if flip:
        mirror = np.diag([-1.0, 1.0])
        resize, offset = mirror @ resize, mirror @ offset + (width, 0)
    expected = old.copy()
    expected[:, :2, :3] = resize @ old[:, :2, :3]
    expected[:, :2, 2] += offset
    np.testing.assert_allclose(new, expected, atol=1e-9)
    assert all(image.shape[:2] == (height, width) for image in frame.images)


def test_real_points_fall_on_their_images(shared_dir):
    """Numbers of shared/data/README.md: points of the demo keyframe deeper than a metre, per camera."""
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    load = [dict(type="LoadPointsFromFile"), dict(type="LoadMultiViewImageFromFiles")]
    conf = dict(final_dim=(900, 1600))
    moved = [*load, *STEPS[1:5], dict(type="ResizeCropFlipImage", data_aug_conf=conf, training=False)]
    known = dict(
        zip(
            ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
            (3704, 3067, 3079, 4097, 4826, 3379),
            strict=True,
        )
    )
    for steps, tolerance in ((load, 0), (moved, 1)):  # float32 may take a point over the edge
        dataset = NuScenesDataset(root, next(root.glob("*.pkl")), steps, test_mode=True)
        frame = dataset.frame(0)
        dataset.pipeline(frame)
        for camera, lidar2img in zip(frame.info.cameras, frame.lidar2img, strict=True):
            pixels, depth = project_points(lidar2img, frame.points[:, :3])
            seen = (depth > 1) & (pixels >= 0).all(axis=1) & (pixels < (1600, 900)).all(axis=1)
            assert abs(int(seen.sum()) - known[camera]) <= tolerance, camera
