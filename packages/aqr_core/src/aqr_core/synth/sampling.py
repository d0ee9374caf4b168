"""Draws a scene: a vehicle on a path, one object of every class, more of the common ones, and background."""

from __future__ import annotations

import numpy as np

from aqr_core.errors import ConfigError
from aqr_core.synth.catalog import BUILDING, DETECTED, EXTRA_WEIGHTS, RACK, Kind
from aqr_core.synth.placement import Placement
from aqr_core.synth.presets import Preset
from aqr_core.synth.rig import KEYFRAME_PERIOD_US, LIDAR_MOUNT
from aqr_core.synth.world import EgoMotion, Thing, World

_TRIES_PER_THING = 300
_TRIES_PER_SCENE = 30
_TIME_STEP_S = 0.25


def sample_world(preset: Preset, rng: np.random.Generator) -> World:
    """A random scene of the preset.

    Raises:
        ConfigError: the objects do not fit into the radius.
    """
    for _ in range(_TRIES_PER_SCENE):
        ego = _sample_ego(preset, rng)
        things = _sample_things(preset, ego, rng)
        if things is not None:
            sun = rng.uniform(0, 2 * np.pi)
            light = np.array([0.6 * np.cos(sun), 0.6 * np.sin(sun), 0.8])
            return World(tuple(things), ego, light)
    raise ConfigError(
        f"{preset.objects} objects do not fit within {preset.radius_m:g} m without overlap: ask for fewer objects."
    )


def _sample_ego(preset: Preset, rng: np.random.Generator) -> EgoMotion:
    return EgoMotion(
        start=(float(rng.uniform(300, 1700)), float(rng.uniform(300, 1700))),
        heading_rad=float(rng.uniform(-np.pi, np.pi)),
        speed_mps=float(rng.uniform(*preset.ego_speed_mps)),
        yaw_rate_rps=float(rng.normal(0, 0.03)),
    )


def _sample_things(preset: Preset, ego: EgoMotion, rng: np.random.Generator) -> list[Thing] | None:
    """The scene's objects, or None if one of those it must have found no place."""
    duration_s = (preset.keyframes - 1) * KEYFRAME_PERIOD_US / 1e6
    times = np.linspace(0, duration_s, max(2, round(duration_s / _TIME_STEP_S) + 1))
    placement = Placement(
        ego, times, radius_m=preset.radius_m, contained=preset.contained, max_hidden=preset.max_hidden
    )
    extra = rng.choice(len(DETECTED), size=max(0, preset.objects - len(DETECTED)), p=EXTRA_WEIGHTS)
    kinds = [*DETECTED, *(DETECTED[i] for i in extra)][: preset.objects]
    kinds += [RACK] * preset.bicycle_racks + [BUILDING] * preset.buildings
    for kind in sorted(kinds, key=lambda kind: -kind.size_m[0] * kind.size_m[1]):  # the large ones while there is room
        if not any(placement.add(_sample_thing(kind, preset, ego, duration_s, rng)) for _ in range(_TRIES_PER_THING)):
            return None
    order = rng.permutation(len(placement.things))
    return [placement.things[i] for i in order]


def _sample_thing(kind: Kind, preset: Preset, ego: EgoMotion, duration_s: float, rng: np.random.Generator) -> Thing:
    size = np.array(kind.size_m) * (1 + kind.spread * rng.standard_normal(3).clip(-2, 2))
    yaw = _sample_yaw(kind, preset, ego, rng)
    speed = rng.uniform(*kind.speed_mps) if rng.random() < kind.moving else 0.0
    velocity = speed * np.array([np.cos(yaw), np.sin(yaw)])

    # Large objects keep their distance, so that they do not hide a whole sector of the scene. Uniform in
    # distance rather than in area: traffic is denser near the road that the vehicle is on.
    nearest = min(5.0 + size[0], 0.7 * preset.radius_m)
    seen_at = rng.uniform(0, duration_s)
    distance = rng.uniform(nearest, preset.radius_m)
    azimuth = rng.uniform(-np.pi, np.pi)
    there = ego.mounted(LIDAR_MOUNT.position_m, seen_at)[:2] + distance * np.array([np.cos(azimuth), np.sin(azimuth)])

    brightness, tint = rng.normal(1, 0.12), rng.normal(0, 12, 3)
    return Thing(
        kind=kind,
        category=str(rng.choice(kind.categories)) if kind.categories else "",
        size=size,
        yaw=yaw,
        start=there - velocity * seen_at,
        velocity=velocity,
        colour_bgr=(np.array(kind.colour_bgr) * brightness + tint).clip(0, 255),
        reflectivity=float(np.clip(kind.reflectivity + rng.normal(0, 3), 0, 255)),
    )


def _sample_yaw(kind: Kind, preset: Preset, ego: EgoMotion, rng: np.random.Generator) -> float:
    """Heading in the world frame, radians."""
    if preset.one_way:
        return float(ego.heading_rad + rng.normal(0, 0.35))
    if kind.road_aligned:
        road = ego.heading_rad + rng.choice([0, np.pi / 2, np.pi, -np.pi / 2], p=[0.4, 0.1, 0.4, 0.1])
        return float(road + rng.normal(0, 0.12))
    return float(rng.uniform(-np.pi, np.pi))
