"""Objects of a database in a scene: how many, where, their points and their pixels."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.database.packed import KeyframeObjects, PackedWriter
from aqr_core.data.transforms.image_paste import visible_rectangles
from aqr_core.data.transforms.object_sample import ObjectSample, UnifiedObjectSample
from aqr_core.data.transforms.object_sampler import ObjectSampler, SamplingRecipe
from aqr_core.errors import ConfigError, DataError
from aqr_core.registry import TRANSFORMS, build
from aqr_core.structures.boxes3d import VX, box_corners, points_in_boxes
from aqr_core.structures.overlap import overlaps_in_bev
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

CAR, TRUCK, PEDESTRIAN = (DETECTION_CLASSES.index(name) for name in ("car", "truck", "pedestrian"))
DATABASE_CLASSES = ("pedestrian", "car", "truck")  # another order than the dataset's
GREY = 200


def _boxes(centres, size=(4.0, 2.0, 1.5), yaw=0.0):
    boxes = np.zeros((len(centres), 9))
    boxes[:, :2] = centres
    boxes[:, 3:6] = size
    boxes[:, 6] = yaw
    return boxes


def _write(folder, names, boxes, num_points=10, has_images=True):
    """A database of objects with `num_points` points each, placed at random in their boxes, and grey crops."""
    rng = np.random.default_rng(0)
    num_points = np.broadcast_to(num_points, len(boxes))
    clouds = []
    for box, count in zip(boxes, num_points, strict=True):
        cloud = rng.uniform(-0.49, 0.49, (count, 5)) * (*box[3:6], 1, 1)
        cos, sin = np.cos(box[6]), np.sin(box[6])
        cloud[:, :2] = cloud[:, :2] @ np.array([[cos, sin], [-sin, cos]])
        cloud[:, 3:] = 77, 0.25
        clouds.append(cloud.astype(np.float32))
    jpeg = cv2.imencode(".jpg", np.full((16, 16, 3), GREY, np.uint8))[1].tobytes() if has_images else b""
    labels = np.array([DATABASE_CLASSES.index(name) for name in names], np.int64)
    folder.mkdir()
    with PackedWriter(folder) as writer:
        writer.append(
            KeyframeObjects("token", tuple(map(str, range(len(boxes)))), boxes, labels, clouds, [jpeg] * len(boxes))
        )
        writer.finish(DATABASE_CLASSES, has_images, {})
    return folder


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory):
    """A dataroot with a database of 20 cars, 20 trucks and 20 pedestrians that can overlap one another."""
    root = tmp_path_factory.mktemp("dataroot")
    rng = np.random.default_rng(1)
    boxes = _boxes(rng.uniform(-25, 25, (60, 2)), yaw=rng.uniform(-3, 3, 60))
    boxes[20:40, 3:6] = 9, 3, 3
    boxes[40:, 3:6] = 0.7, 0.6, 1.8
    boxes[5, VX:] = np.nan
    names = ["car"] * 20 + ["truck"] * 20 + ["pedestrian"] * 20
    _write(root / "gt_database_train", names, boxes, num_points=np.arange(60) % 20)
    return root


def _open(dataroot, groups, sample_2d=True, classes=DETECTION_CLASSES, **arguments):
    sampler = {key: arguments.pop(key) for key in list(arguments) if key in ("rate", "filter_by_min_points")}
    transform = UnifiedObjectSample(dict(sample_groups=groups, **sampler), sample_2d, **arguments)
    transform.open_files(dataroot, classes, "train")
    return transform


def _sampler(folder, groups, **arguments):
    return ObjectSampler(SamplingRecipe(groups, **arguments), ObjectDatabase.open(folder), DETECTION_CLASSES)


def _apart(folder, count=12):
    """A database of `count` cars in a row, too far apart to collide."""
    return _write(folder, ["car"] * count, _boxes([(10.0 * i, 0) for i in range(count)]))


NO_BOXES = np.zeros((0, 9)), np.zeros(0, np.int64)


@pytest.mark.parametrize(
    ("present", "rate", "drawn"), [(0, 1.0, 6), (2, 1.0, 4), (9, 1.0, 0), (1, 0.5, 2), (3, 0.5, 2)]
)
def test_a_class_is_filled_up_to_its_maximum(tmp_path, present, rate, drawn):
    """round(rate * (6 - present)), halves to even."""
    sampler = _sampler(_apart(tmp_path / "db"), {"car": 6}, rate=rate)
    boxes, labels = _boxes([(0, 100.0 + 10 * i) for i in range(present + 1)]), np.array([CAR] * present + [TRUCK])
    objects, drawn_labels = sampler.draw(boxes, labels, np.random.default_rng(0))
    assert len(set(objects.tolist())) == len(objects) == drawn
    assert drawn_labels.tolist() == [CAR] * drawn


def test_a_class_with_few_objects_gives_what_it_has(tmp_path):
    sampler = _sampler(_apart(tmp_path / "db", 3), {"car": 6})
    assert sorted(sampler.draw(*NO_BOXES, np.random.default_rng(0))[0].tolist()) == [0, 1, 2]


def test_every_object_is_drawn_equally_often(tmp_path):
    sampler, rng = _sampler(_apart(tmp_path / "db"), {"car": 3}), np.random.default_rng(0)
    counts = np.bincount(np.concatenate([sampler.draw(*NO_BOXES, rng)[0] for _ in range(2000)]), minlength=12)
    assert counts.sum() == 6000
    assert (np.abs(counts - 500) < 5 * np.sqrt(500 * 0.75)).all()


def test_classes_are_mapped_by_name_and_come_in_the_order_of_the_groups(tmp_path):
    folder = _write(tmp_path / "db", ["car", "pedestrian", "truck"], _boxes([(0, 0), (10, 0), (20, 0)]))
    objects, labels = _sampler(folder, {"truck": 1, "pedestrian": 1, "car": 1}).draw(
        *NO_BOXES, np.random.default_rng(0)
    )
    assert labels.tolist() == [TRUCK, PEDESTRIAN, CAR]
    assert objects.tolist() == [2, 1, 0]


def test_filters(tmp_path):
    folder = _write(
        tmp_path / "db", ["car"] * 6, _boxes([(10.0 * i, 0) for i in range(6)]), num_points=[1, 4, 5, 6, 7, 8]
    )
    database = ObjectDatabase.open(folder)
    database.difficulty = np.array([0, 0, 0, -1, 0, 1])
    recipe = SamplingRecipe({"car": 6}, filter_by_min_points={"car": 5}, filter_by_difficulty=[-1, 1])
    sampler = ObjectSampler(recipe, database, DETECTION_CLASSES)
    assert sampler.objects["car"].tolist() == [2, 4]


def test_of_two_candidates_that_overlap_the_later_one_stays(tmp_path):
    boxes = _boxes([(0, 0), (3, 0), (6, 0)])  # each 4 m long: the middle one overlaps both others
    sampler = _sampler(_write(tmp_path / "db", ["car"] * 3, boxes), {"car": 3})
    for seed in range(20):
        order = np.random.default_rng(seed).choice(3, 3, replace=False).tolist()
        kept = sampler.draw(*NO_BOXES, np.random.default_rng(seed))[0].tolist()
        # The middle one goes if another one is still standing; where it comes last, both others went because of it.
        assert kept == ([1] if order[2] == 1 else [i for i in order if i != 1] if order[0] == 1 else [order[2]])


def test_a_candidate_gives_way_to_boxes_of_the_scene_and_to_earlier_classes(tmp_path):
    boxes = _boxes([(0, 0), (1, 0), (50, 0)])
    folder = _write(tmp_path / "db", ["car", "truck", "truck"], boxes)
    rng = np.random.default_rng(0)
    assert _sampler(folder, {"car": 1, "truck": 2}).draw(*NO_BOXES, rng)[0].tolist() == [0, 2]
    assert set(_sampler(folder, {"truck": 2, "car": 1}).draw(*NO_BOXES, rng)[0].tolist()) == {1, 2}
    scene = _boxes([(-3, 1)]), np.array([PEDESTRIAN])  # overlaps the car, not the truck that is 1 m further
    assert set(_sampler(folder, {"car": 1, "truck": 2}).draw(*scene, rng)[0].tolist()) == {1, 2}
    assert not len(_sampler(folder, {"car": 1}).draw(boxes[:1], np.array([TRUCK]), rng)[0])  # a copy of itself


@pytest.fixture
def frame(new_frame):
    return _clean(new_frame(0))


def _clean(frame):
    frame.images = [image.astype(np.uint8) for image in frame.images]
    frame.gt_boxes = _boxes([(-8, 12), (9, -11)])  # apart, unlike the fixture's random boxes
    frame.gt_labels = np.array([CAR, PEDESTRIAN])
    return frame


GROUPS = {"car": 4, "truck": 5, "pedestrian": 6}


@given(st.integers(0, 2**32 - 1))
def test_boxes_points_and_labels_agree(dataroot, new_frame, seed):
    frame = _clean(new_frame(seed))
    transform = _open(dataroot, GROUPS, sample_2d=False)
    before = replace(frame)
    transform(frame)
    n = len(before.gt_boxes)
    added = frame.gt_boxes[n:]
    np.testing.assert_array_equal(frame.gt_boxes[:n], before.gt_boxes)
    assert frame.gt_labels.dtype == np.int64 and len(frame.gt_labels) == len(frame.gt_boxes)
    assert all(
        (frame.gt_labels == label).sum() <= GROUPS[DETECTION_CLASSES[label]] for label in (CAR, TRUCK, PEDESTRIAN)
    )
    meets = overlaps_in_bev(frame.gt_boxes, added)
    meets[np.arange(n, len(meets)), np.arange(len(added))] = False
    assert not meets.any()

    removed = points_in_boxes(before.points, added).any(axis=1)
    rest = before.points[~removed]
    np.testing.assert_array_equal(frame.points[: len(rest)], rest)
    pasted = frame.points[len(rest) :]
    assert (pasted[:, 3:] == np.array([77, 0.25], np.float32)).all()
    assert points_in_boxes(pasted, added).any(axis=1).all()
    inside = points_in_boxes(frame.points, added).sum(axis=0)
    objects = [np.flatnonzero((transform.sampler.database.boxes[:, :7] == box[:7]).all(axis=1))[0] for box in added]
    np.testing.assert_array_equal(inside, transform.sampler.database.num_points[objects])


def test_the_database_is_not_written_to(dataroot, frame):
    transform = _open(dataroot, GROUPS)
    before = transform.sampler.database.boxes.copy()
    images = [image.copy() for image in frame.images]
    transform(frame)
    frame.gt_boxes += 1
    np.testing.assert_array_equal(transform.sampler.database.boxes, before)
    assert any((new != old).any() for new, old in zip(frame.images, images, strict=True))


def test_blank_sensors_stay_blank_and_the_boxes_join(dataroot, new_frame):
    frames = [_clean(new_frame(0)) for _ in range(3)]
    for frame, blank in zip(frames, ({}, {"image"}, {"points"}), strict=True):
        frame.blank = frozenset(blank)
        frame.images = [np.zeros_like(image) for image in frame.images]
        frame.points[:] = 0
        _open(dataroot, GROUPS)(frame)
    whole, no_images, no_points = frames
    for one in (no_images, no_points):
        np.testing.assert_array_equal(one.gt_boxes, whole.gt_boxes)
        np.testing.assert_array_equal(one.gt_labels, whole.gt_labels)
    np.testing.assert_array_equal(no_images.points, whole.points)
    assert not any(image.any() for image in no_images.images)
    assert all((one == other).all() for one, other in zip(no_points.images, whole.images, strict=True))
    assert any(image.any() for image in whole.images)
    assert no_points.points.shape == (200, 5) and not no_points.points.any()


def test_pasted_points_project_into_pasted_rectangles(dataroot, frame):
    frame.points = frame.points[:0]
    frame.images = [np.zeros_like(image) for image in frame.images]
    _open(dataroot, GROUPS, mixup_rate=1.0)(frame)
    added, seen = frame.gt_boxes[2:], 0
    for image, lidar2img in zip(frame.images, frame.lidar2img, strict=True):
        height, width = image.shape[:2]
        chosen, rectangles = visible_rectangles(box_corners(added), lidar2img, width, height)
        covered = np.zeros((height, width), bool)
        for i, (left, top, right, bottom) in zip(chosen, rectangles, strict=True):
            covered[top:bottom, left:right] = True
            points = frame.points[points_in_boxes(frame.points, added[[i]])[:, 0], :3]
            projected = points @ lidar2img[:3, :3].T + lidar2img[:3, 3]
            u, v = projected[:, :2].T / projected[:, 2]
            visible = (u >= 0) & (u < width - 1) & (v >= 0) & (v < height - 1)
            assert ((u >= left) & (u < right + 1) & (v >= top) & (v < bottom + 1))[visible].all()
            seen += visible.sum()
        np.testing.assert_array_equal((image > GREY - 8).all(axis=2), covered)
    assert seen > 10


def test_a_frame_without_images_or_boxes(dataroot, frame):
    frame.images, frame.cam2img, frame.lidar2cam = [], frame.cam2img[:0], frame.lidar2cam[:0]
    frame.gt_boxes, frame.gt_labels = NO_BOXES
    frame.points = frame.points[:0]
    _open(dataroot, GROUPS)(frame)
    assert frame.images == []
    assert len(frame.gt_boxes) == len(frame.gt_labels) > 0
    assert frame.points.dtype == np.float32


def test_a_full_scene_stays_as_it_is(dataroot, frame):
    before = replace(frame)
    _open(dataroot, {"car": 1, "pedestrian": 0})(frame)
    assert frame.points is before.points and frame.gt_boxes is before.gt_boxes and frame.images is before.images


def test_unknown_velocity_stays_unknown_unless_asked(dataroot, frame):
    velocities = {}
    for zero in (False, True):
        transform = _open(dataroot, {"car": 99}, sample_2d=False, zero_unknown_velocity=zero)
        transform.sampler.objects["car"] = np.array([5])
        one = replace(frame)
        one.gt_boxes, one.gt_labels = NO_BOXES
        transform(one)
        velocities[zero] = one.gt_boxes[0, VX:].tolist()
    assert velocities[True] == [0, 0] and np.isnan(velocities[False]).all()


def test_a_sample_depends_on_its_generator_alone(dataroot, new_frame):
    """The same after other frames, and after a trip to a worker."""
    first = _open(dataroot, GROUPS)
    second = pickle.loads(pickle.dumps(first))
    results = []
    for transform, seeds in ((first, (3, 4)), (second, (9, 8, 4))):
        for seed in seeds:
            frame = _clean(new_frame(0))
            frame.rng = np.random.default_rng(seed)
            transform(frame)
        results.append(frame)
    a, b = results
    np.testing.assert_array_equal(a.gt_boxes, b.gt_boxes)
    np.testing.assert_array_equal(a.points, b.points)
    assert all((x == y).all() for x, y in zip(a.images, b.images, strict=True))


def test_object_sample_leaves_the_images_alone(dataroot, frame):
    transform = build(dict(type="ObjectSample", db_sampler=dict(sample_groups=GROUPS)), TRANSFORMS)
    assert isinstance(transform, ObjectSample)
    transform.open_files(dataroot, DETECTION_CLASSES, "train")
    images = frame.images
    transform(frame)
    assert frame.images is images and len(frame.gt_boxes) > 2


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({}, "db_sampler needs sample_groups"),
        ({"sample_group": {}}, "db_sampler does not take 'sample_group'. Did you mean 'sample_groups'"),
        ({"sample_groups": {"car": -1}}, "sample_groups has -1 for 'car'; give a whole number, 0 or more"),
        ({"sample_groups": {"car": 1.5}}, "sample_groups has 1.5 for 'car'"),
        ({"sample_groups": {}, "filter_by_min_points": {"bus": -5}}, "filter_by_min_points has -5 for 'bus'"),
        ({"sample_groups": {"car": 1}, "rate": -0.5}, "rate is -0.5; give 0 or more"),
    ],
)
def test_bad_sampler_arguments(sampler, message):
    with pytest.raises(ConfigError, match=message):
        UnifiedObjectSample(sampler)


@pytest.mark.parametrize("rate", [-1, 0, 1.5])
def test_bad_mixup_rate(rate):
    with pytest.raises(ConfigError, match=f"mixup_rate is {rate}; give a share above 0 and up to 1"):
        UnifiedObjectSample(dict(sample_groups=GROUPS), mixup_rate=rate)


def test_unknown_classes_are_named_with_a_suggestion(dataroot):
    with pytest.raises(ConfigError, match="sample_groups has unknown class 'cars'. Did you mean 'car'"):
        _open(dataroot, {"cars": 2})
    with pytest.raises(ConfigError, match="filter_by_min_points has unknown class 'truk'. Did you mean 'truck'"):
        _open(dataroot, {"car": 2}, filter_by_min_points={"truk": 2})


def test_a_missing_database_names_the_command(tmp_path):
    with pytest.raises(
        DataError, match=r"no object database at .*gt_database_train; build it with `aqr prepare --gt-da"
    ):
        _open(tmp_path, GROUPS)


def test_a_database_without_images_names_both_remedies(tmp_path, frame):
    _write(tmp_path / "gt_database_train", ["car"], _boxes([(0, 0)]), has_images=False)
    with pytest.raises(DataError, match="no image crops.*`aqr prepare --gt-database`, or use ObjectSample"):
        _open(tmp_path, GROUPS)
    _open(tmp_path, {"car": 4}, sample_2d=False)(frame)
    assert len(frame.gt_boxes) == 3


def test_classes_without_objects_warn_and_none_at_all_fails(tmp_path, caplog):
    _write(tmp_path / "gt_database_train", ["car"], _boxes([(0, 0)]))
    _open(tmp_path, {"car": 4, "truck": 1, "bus": 2})
    assert "has no object to paste for: truck, bus." in caplog.text
    with pytest.raises(DataError, match="no object of the classes truck, bus that passes the filters"):
        _open(tmp_path, {"truck": 1, "bus": 2})


def test_a_transform_that_was_not_opened_says_so(frame):
    with pytest.raises(
        ConfigError, match=r"no open database; let NuScenesDataset build the pipeline, or call open_files"
    ):
        UnifiedObjectSample(dict(sample_groups=GROUPS))(frame)
