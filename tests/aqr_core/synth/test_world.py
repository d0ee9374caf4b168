from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aqr_core.errors import ConfigError
from aqr_core.structures.boxes3d import box_corners, points_in_boxes
from aqr_core.synth import PRESETS
from aqr_core.synth.catalog import DETECTED
from aqr_core.synth.placement import CLEARANCE_M, Placement, hidden_fraction
from aqr_core.synth.presets import preset_named
from aqr_core.synth.rig import LIDAR_MOUNT
from aqr_core.synth.sampling import sample_world
from aqr_core.synth.world import SKIN_M, EgoMotion, Thing, World
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

KINDS = {kind.name: kind for kind in DETECTED}
PARKED = EgoMotion((0.0, 0.0), 0.0, 0.0, 0.0)


def thing(name="car", at=(10.0, 0.0), yaw=0.0, speed=0.0):
    kind = KINDS[name]
    velocity = speed * np.array([np.cos(yaw), np.sin(yaw)])
    return Thing(
        kind, kind.categories[0], np.array(kind.size_m), yaw, np.array(at), velocity, np.array(kind.colour_bgr), 50.0
    )


def placement(**changes):
    arguments = {"radius_m": 30.0, "contained": True, "max_hidden": 1.0} | changes
    return Placement(PARKED, np.linspace(0, 2, 9), **arguments)


def test_the_vehicle_drives_straight_or_along_an_arc():
    straight = EgoMotion((100.0, 200.0), np.pi / 2, 3.0, 0.0)
    np.testing.assert_allclose(straight.position(2.0), [100, 206, 0], atol=1e-12)
    quarter = EgoMotion((0.0, 0.0), 0.0, np.pi, np.pi / 2)  # radius 2 m, a quarter turn in 1 s
    np.testing.assert_allclose(quarter.position(1.0), [2, 2, 0], atol=1e-12)
    assert quarter.yaw(1.0) == np.pi / 2
    # The LiDAR sits 0.94 m ahead of the origin.
    np.testing.assert_allclose(quarter.mounted(LIDAR_MOUNT.position_m, 1.0), [2, 2.94, 1.84], atol=1e-12)


@pytest.mark.parametrize("kind", DETECTED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("speed", [0.0, 2.0])
def test_every_surface_lies_inside_the_box_by_at_least_the_skin(kind, speed):
    world = World((thing(kind.name, yaw=0.7, speed=speed),), PARKED, np.array([0, 0, 1.0]))
    solids = world.solids(1.0)
    pieces = np.column_stack([solids.centre, 2 * solids.half, solids.yaw])
    box = world.boxes(1.0)
    box[:, 3:6] -= 2 * SKIN_M - 1e-9
    assert points_in_boxes(box_corners(pieces).reshape(-1, 3), box).all()


def test_objects_move_along_their_heading_on_the_ground():
    world = World((thing(at=(10.0, 5.0), yaw=np.pi / 2, speed=4.0),), PARKED, np.array([0, 0, 1.0]))
    np.testing.assert_allclose(world.boxes(0.5)[0], [10, 7, 0.85, 4.6, 1.95, 1.7, np.pi / 2, 0, 4], atol=1e-12)


def test_placement_refuses_what_is_too_near_too_far_or_in_the_way():
    placed = placement()
    assert placed.add(thing(at=(10, 0)))
    assert not placed.add(thing(at=(12, 0.5)))  # overlaps
    assert not placed.add(thing(at=(10, 2.4)))  # 0.45 m beside it
    assert placed.add(thing(at=(10, 2.8)))
    assert not placed.add(thing(at=(0.94, 4.9)))  # 3.9 m from the LiDAR to its side
    assert not placed.add(thing(at=(31, 0)))
    assert not placed.add(thing(at=(-12, 12), yaw=np.pi, speed=10.0))  # drives out of the radius
    assert not placed.add(thing(at=(18, -1), yaw=np.pi, speed=4.0))  # drives into the first one
    assert len(placed.things) == 2


def test_a_bus_hides_the_pedestrian_behind_it_but_not_the_other_way_round():
    lidar, times = np.array([[0.94, 0.0, 1.84]] * 3), np.zeros(3)
    bus, behind = thing("bus", at=(12, 0), yaw=np.pi / 2), thing("pedestrian", at=(20, 0))
    np.testing.assert_array_equal(hidden_fraction([bus, behind], lidar, times), [0, 1])
    ahead = thing("traffic_cone", at=(6, 0))
    assert hidden_fraction([bus, ahead], lidar, times).tolist() == [0, 0]  # one looks over a cone
    assert not (p := placement(max_hidden=0.5)).add(bus) or not p.add(behind)


@pytest.mark.parametrize("seed", range(5))
def test_tiny_scenes_keep_all_classes_near_apart_and_mostly_visible(seed):
    preset = PRESETS["tiny"]
    world = sample_world(preset, np.random.default_rng(seed))
    assert {thing.kind.name for thing in world.things} == set(DETECTION_CLASSES)
    assert len(world.things) == preset.objects
    assert 0 <= world.ego.speed_mps <= 3
    for t in np.linspace(0, 2.5, 51):
        lidar = world.ego.mounted(LIDAR_MOUNT.position_m, t)
        boxes = world.boxes(t)
        assert np.hypot(*(boxes[:, :2] - lidar[:2]).T).max() <= preset.radius_m
        corners = box_corners(boxes)[:, :4]
        assert np.hypot(*(corners - lidar)[..., :2].T).min() > CLEARANCE_M - 0.1
        inside = points_in_boxes(corners.reshape(-1, 3), boxes).reshape(len(boxes), 4, len(boxes)).any(axis=1)
        assert not (inside & ~np.eye(len(boxes), dtype=bool)).any()


def test_too_little_room_is_an_error_that_says_so():
    with pytest.raises(ConfigError, match="14 objects do not fit within 8 m"):
        sample_world(replace(PRESETS["tiny"], radius_m=8.0), np.random.default_rng(0))


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'huge': choose one of tiny, mini, full"):
        preset_named("huge")


@pytest.mark.parametrize(("one_way", "with_the_vehicle"), [(True, 1.0), (False, 0.6)])
def test_a_one_way_street_has_no_oncoming_traffic(one_way, with_the_vehicle):
    """Two-way roads: four in ten head the vehicle's way; pedestrians and cones, three objects in ten, anywhere."""
    preset = replace(PRESETS["tiny"], one_way=one_way)
    worlds = [sample_world(preset, np.random.default_rng(seed)) for seed in range(6)]
    ahead = [np.cos(thing.yaw - world.ego.heading_rad) > 0 for world in worlds for thing in world.things]
    assert len(ahead) == 6 * preset.objects
    assert abs(np.mean(ahead) - with_the_vehicle) < (1e-9 if one_way else 0.2)
