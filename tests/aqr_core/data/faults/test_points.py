"""Failures of the LiDAR, against the points on disk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqr_core.data.faults import (
    BeamReduction,
    LidarFog,
    LidarMisalignment,
    LidarMotionBlur,
    LidarSnow,
    LimitedFov,
    ObjectFailure,
    PointsReduction,
)
from aqr_core.data.faults.lidar_fog import _strongest_fog
from aqr_core.data.faults.lidar_snow import noise_floor
from aqr_core.data.transforms.loading import read_sweep_points
from aqr_core.errors import ConfigError, DataError
from aqr_core.structures.boxes3d import points_in_boxes


def rows(points):
    return {row.tobytes() for row in np.ascontiguousarray(points)}


def rng():
    return np.random.default_rng(0)


def cloud(count, seed=0):
    generator = np.random.default_rng(seed)
    points = generator.uniform((-50, -50, -2, 0, 0), (50, 50, 2, 255, 0), (count, 5)).astype(np.float32)
    points[:, 4] = generator.integers(0, 32, count)
    return points


def test_beams_are_kept_by_ring_in_all_files(load, raw_of):
    frame = load(dict(type="BeamReduction", rings=(1, 9, 17, 25)))
    kept = [raw[np.isin(raw[:, 4], (1, 9, 17, 25))] for raw in raw_of(frame)]
    assert len(kept) == 4
    np.testing.assert_array_equal(frame.points[: len(kept[0]), :4], kept[0][:, :4])
    assert len(frame.points) == sum(map(len, kept)) == frame.faults["BeamReduction/points_kept"]
    assert frame.faults["BeamReduction/points"] == sum(map(len, raw_of(frame)))
    assert np.unique(frame.points[:, 4]).tolist() == [0, *sorted(np.float32(s.age) for s in frame.info.sweeps[:3])]


def test_drawn_beams_are_those_of_the_keyframe_in_all_files_and_nested(load, raw_of):
    clean = raw_of(load())
    kept = {}
    for count in (4, 8):
        frame = load(dict(type="BeamReduction", count=count))
        (first, *_) = clean
        own = frame.points[frame.points[:, 4] == 0]
        kept[count] = {first[np.flatnonzero((first[:, :4] == row[:4]).all(axis=1))[0], 4] for row in own}
        expected = sum(int(np.isin(raw[:, 4], list(kept[count])).sum()) for raw in clean)
        assert len(kept[count]) == count and len(frame.points) == expected
    assert kept[4] < kept[8]


def test_a_file_without_rings():
    points = cloud(10)
    points[:, 4] = 0
    with pytest.raises(DataError, match="ring 0 alone in a LiDAR file"):
        BeamReduction(rings=(1,)).spoil(points, rng())
    assert BeamReduction(rings=(1,)).spoil(points[:0], rng()).shape == (0, 5)


@given(count=st.integers(0, 300), first=st.floats(0, 1), second=st.floats(0, 1))
def test_a_larger_share_loses_the_same_points_and_more(count, first, second):
    points = cloud(count)
    few, many = (PointsReduction(share).spoil(points, rng()) for share in sorted((first, second), reverse=True))
    assert len(few) == round(count * (1 - max(first, second)))
    assert rows(few) <= rows(many) <= rows(points)
    order = [row.tobytes() for row in points]
    assert [order.index(row.tobytes()) for row in many] == sorted(order.index(row.tobytes()) for row in many)


def test_a_sweep_fails_alike_from_whichever_keyframe_it_is_read(load):
    """The second keyframe's own sweep is a past one of the third; its kept points are the same."""
    step = dict(type="PointsReduction", share=0.7)
    second, third = load(step, index=1), load(step, index=2)
    path = second.info.lidar.path
    if path not in [sweep.path for sweep in third.info.sweeps]:
        path = second.info.sweeps[0].path
    for frame in (second, third):
        assert frame.raw_faults
    points = cloud(50)
    a, b = (frame.raw_faults[0](points, path) for frame in (second, third))
    np.testing.assert_array_equal(a, b)
    assert rows(a) != rows(second.raw_faults[0](points, "another.pcd.bin"))


def test_sweeps_are_struck_in_their_own_frame(load, infos_path):
    """Rotation and shift come before the motion of the vehicle."""
    frame = load(dict(type="LidarMisalignment", probability=1.0, angle_deg=2, shift_m=2.0))
    sweep = frame.info.sweeps[0]
    raw = np.fromfile(infos_path.parent / sweep.path, np.float32).reshape(-1, 5).astype(np.float64)
    cos, sin = np.cos(np.radians(2)), np.sin(np.radians(2))
    x = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    z = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    moved = raw[:, :3] @ (x @ y @ z).T + (2, 0, 0)
    moved = moved @ sweep.sweep2lidar[:3, :3].T + sweep.sweep2lidar[:3, 3]
    found = frame.points[np.isclose(frame.points[:, 4], sweep.age)]
    np.testing.assert_allclose(found[:, :3], moved, atol=1e-4)
    assert frame.faults["LidarMisalignment/points_moved"] == len(frame.points)
    assert len(read_sweep_points(infos_path.parent, frame.info, sweep)) == len(found)


def test_misaligned_turns_are_nested_and_as_many_as_said():
    points = cloud(3)
    struck = [
        [
            not np.array_equal(LidarMisalignment(p, 1).spoil(points, np.random.default_rng(seed)), points)
            for seed in range(1000)
        ]
        for p in (0.2, 0.6)
    ]
    few, many = np.array(struck)
    assert abs(few.mean() - 0.2) < 0.04 and abs(many.mean() - 0.6) < 0.05
    assert (many | ~few).all()


def test_blur_shifts_each_turn_and_trembles():
    points = cloud(20000)
    moved = {std: LidarMotionBlur(std).spoil(points, rng()).astype(np.float64) - points for std in (0.06, 0.12)}
    np.testing.assert_array_equal(moved[0.06][:, 3:], 0)
    np.testing.assert_allclose(moved[0.12], 2 * moved[0.06], atol=2e-5)  # the same draws
    np.testing.assert_allclose(moved[0.06][:, :3].std(axis=0), 0.06 * np.array([0.15, 0.2, 0.12]), rtol=0.03)
    shifts = [
        LidarMotionBlur(0.1).spoil(points[:1], np.random.default_rng(s))[0, 2] - points[0, 2] for s in range(2000)
    ]
    assert abs(np.std(shifts) - 0.1) < 0.01


def test_the_field_of_view_is_about_y_and_holds_its_limits(new_frame):
    frame = new_frame(0)
    angles = np.radians([-180, -120, -90.1, -90, -60.1, -60, 0, 45, 60, 60.1, 90, 90.1, 179])
    frame.points = np.zeros((len(angles), 5), np.float32)
    frame.points[:, 0], frame.points[:, 1] = np.sin(angles), np.cos(angles)
    frame.points[3, :2], frame.points[10, :2] = (-7, 0), (7, 0)  # exactly on the limits, right is +x
    frame.points[:, 3] = np.arange(len(angles))
    before = frame.points.copy()
    LimitedFov((-90, 90))(frame)
    assert frame.points[:, 3].tolist() == list(range(3, 11))
    frame.points = before[[4, 6, 7, 9]]
    LimitedFov((-60, 60))(frame)
    assert frame.points[:, 3].tolist() == [6, 7]
    assert frame.faults == {"LimitedFov/points": 13 + 4, "LimitedFov/points_kept": 8 + 2}


def test_objects_fail_in_all_boxes_of_a_frame_or_in_none(load):
    clean, struck, spared = (
        load(),
        load(dict(type="ObjectFailure", probability=1)),
        load(dict(type="ObjectFailure", probability=0)),
    )
    inside = points_in_boxes(clean.points, clean.info.gt.boxes).any(axis=1)
    assert inside.sum() > 50
    np.testing.assert_array_equal(struck.points, clean.points[~inside])
    np.testing.assert_array_equal(struck.gt_boxes, clean.gt_boxes)
    assert struck.faults["ObjectFailure/points"] - struck.faults["ObjectFailure/points_kept"] == inside.sum()
    np.testing.assert_array_equal(spared.points, clean.points)
    assert spared.faults == {}


def test_half_of_the_frames_lose_their_objects(new_frame):
    fault, frame = ObjectFailure(0.5), new_frame(0)
    draws = [fault.draws(0, f"{frame.info.token}{i}").uniform() < 0.5 for i in range(2000)]
    assert abs(np.mean(draws) - 0.5) < 0.03


def test_fog_weakens_echoes_by_hand():
    """At 20 m with 0.02 / m a return of 100 keeps exp(-0.8) of it, and the fog's own echo is weaker: see below."""
    points = np.array([[20, 0, 0, 100, 5], [0, 0, 0, 7, 5]], np.float32)
    foggy = LidarFog(0.02, 0.008).spoil(points, rng())
    assert foggy[:, 3].tolist() == [round(100 * np.exp(-0.8)), 7]
    np.testing.assert_array_equal(foggy[:, :3], points[:, :3])
    _, echo = _strongest_fog(0.02)
    assert 0 < echo[200] * 100 * 400 * 0.008 / (1e-6 / np.pi) < 45


def test_the_strongest_fog_is_just_before_the_receiver_sees_all():
    """By the formula: a 20 ns pulse is 6 m long, and 1 / r^2 makes the nearest visible fog the strongest."""
    ranges, echo = _strongest_fog(0.06)
    assert (np.diff(echo) >= 0).all()
    assert 1.0 < ranges[-1] < 2.5 and ranges[-1] == ranges[100]
    # A narrow pulse at rho would give pulse area 20 ns times exp(-2 alpha rho) / rho^2; smeared it is less.
    assert 0 < echo[-1] < 2e-8 * np.exp(-2 * 0.06) / 1.0**2


def test_thicker_fog_takes_more_points():
    points = cloud(5000)
    moved = [
        int((LidarFog(a, b).spoil(points, rng())[:, 0] != points[:, 0]).sum())
        for a, b in ((0.02, 0.008), (0.03, 0.008), (0.06, 0.05))
    ]
    assert 0 < moved[0] < moved[1] < moved[2]


def ground(count=4000):
    """A flat road of intensity 10 below the sensor, as far as 80 m."""
    generator = np.random.default_rng(1)
    points = np.zeros((count, 5), np.float32)
    angle, far = generator.uniform(0, 2 * np.pi, count), generator.uniform(3, 80, count)
    points[:, 0], points[:, 1], points[:, 2], points[:, 3] = far * np.cos(angle), far * np.sin(angle), -1.85, 10
    return points


def test_the_noise_floor_follows_the_ground():
    """One intensity everywhere: every bin's weakest echo is that of the ground, of which the floor is 0.7."""
    points = ground()
    distance = np.linalg.norm(points[:, :3], axis=1)
    floor = noise_floor(points, distance)
    middle = (distance > 20) & (distance < 60)
    np.testing.assert_allclose(floor[middle], 7, atol=1.0)
    assert (noise_floor(points[:24], distance[:24]) == -np.inf).all()


def test_snow_hides_and_echoes():
    points = ground()
    mild, heavy = (LidarSnow(*rates).spoil(points, rng()) for rates in ((0.5, 1.2), (1.5, 0.4)))
    for snowy in (mild, heavy):
        assert 0.8 * len(points) < len(snowy) <= len(points)
        assert (snowy[:, 3] >= 0).all() and (snowy[:, 3] <= 255).all()
        distance = np.linalg.norm(snowy[:, :3], axis=1)
        assert distance.max() <= 81
    assert heavy[:, 3].mean() < mild[:, 3].mean() or len(heavy) < len(mild)


def test_flakes_are_as_many_and_as_large_as_the_occupied_share_says():
    """Of a beam to 40 m the flakes fill the same share as of the plane, the beam being a triangle in it."""
    fault = LidarSnow(1.5, 0.4)
    distance = np.full(20000, 40.0)
    _, flake_m, filled = fault._flakes(distance, rng())
    area = (filled * fault.BEAM_RAD * flake_m).sum()  # of widths; each disk is pi / 4 of its width long on average
    occupied = 1.5 / (3.6e5 * 0.4)
    expected = fault.per_m2 * fault.mean_diameter_m * np.pi / 4 * (fault.BEAM_RAD * 40**2 / 2) * len(distance)
    assert area == pytest.approx(expected, rel=0.05)
    assert fault.per_m2 * np.pi / 6 * 2 / fault.per_m**2 == pytest.approx(occupied, rel=0.2)  # but for the cut at 20 mm


@pytest.mark.parametrize(
    ("fault", "arguments", "message"),
    [
        (BeamReduction, {}, "rings=None and count=None; give exactly one"),
        (BeamReduction, dict(rings=(1,), count=4), "give exactly one"),
        (BeamReduction, dict(rings=(32,)), r"rings is \(32,\); give one or more from 0 to 31"),
        (BeamReduction, dict(rings=()), "give one or more from 0 to 31"),
        (BeamReduction, dict(count=0), "count is 0; keep 1 to 32 rings"),
        (PointsReduction, dict(share=70), "share is 70; give the share that is lost, from 0 to 1"),
        (LidarMotionBlur, dict(std_m=-1), "std_m is -1"),
        (LidarMisalignment, dict(probability=2, angle_deg=1), "probability is 2; give one from 0 to 1"),
        (LimitedFov, dict(limits_deg=(60, -60)), r"limits_deg is \(60, -60\); give two ascending azimuths"),
        (ObjectFailure, dict(probability=-0.1), "ObjectFailure: probability is -0.1"),
        (LidarFog, dict(attenuation=0, backscatter=0.1), "attenuation=0"),
        (LidarSnow, dict(snowfall=0, velocity=1), "snowfall=0 mm/h"),
    ],
)
def test_wrong_arguments(fault, arguments, message):
    with pytest.raises(ConfigError, match=message):
        fault(**arguments)


def test_wrong_places(new_frame):
    frame = new_frame(0)
    with pytest.raises(
        ConfigError, match="PointsReduction finds points that are loaded already in sample 'token'; put it"
    ):
        PointsReduction(0.5)(frame)
    frame.points = frame.points[:0]
    with pytest.raises(ConfigError, match="LimitedFov finds no points .*put it right behind LoadPointsFromFile"):
        LimitedFov()(frame)
