"""The ten detection classes, their attributes and ranges, and the cameras, as the nuScenes benchmark fixes them."""

from __future__ import annotations

DETECTION_CLASSES: tuple[str, ...] = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)

# Categories that are absent here (animals, debris, emergency vehicles, ...) are not evaluated.
CATEGORY_TO_CLASS: dict[str, str] = {
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic_cone",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}

BICYCLE_RACK = "static_object.bicycle_rack"  # bicycles and motorcycles inside one are left out of the metric

ATTRIBUTES: tuple[str, ...] = (
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.moving",
    "pedestrian.standing",
    "pedestrian.sitting_lying_down",
)

# How much of an object all cameras together see.
VISIBILITY_LEVEL: dict[str, int] = {"v0-40": 1, "v40-60": 2, "v60-80": 3, "v80-100": 4}

LIDAR = "LIDAR_TOP"
CAMERAS: tuple[str, ...] = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)

MAX_BOXES_PER_SAMPLE = 500

# Boxes at or beyond this distance from the ego vehicle, in the ground plane, are not evaluated.
CLASS_RANGE_M: dict[str, float] = {
    "car": 50.0,
    "truck": 50.0,
    "construction_vehicle": 50.0,
    "bus": 50.0,
    "trailer": 50.0,
    "barrier": 30.0,
    "motorcycle": 40.0,
    "bicycle": 40.0,
    "pedestrian": 40.0,
    "traffic_cone": 30.0,
}

MOVING_SPEED_MPS = 0.2  # what is not faster counts as resting
_ATTRIBUTE_MOVING_RESTING: dict[str, tuple[str, str]] = {
    "car": ("vehicle.moving", "vehicle.parked"),
    "truck": ("vehicle.moving", "vehicle.parked"),
    "construction_vehicle": ("vehicle.moving", "vehicle.parked"),
    "trailer": ("vehicle.moving", "vehicle.parked"),
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "motorcycle": ("cycle.with_rider", "cycle.without_rider"),
    "bicycle": ("cycle.with_rider", "cycle.without_rider"),
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "barrier": ("", ""),
    "traffic_cone": ("", ""),
}


def default_attribute(class_name: str, speed_mps: float) -> str:
    """The attribute that the field's detectors submit: what a box of this class most likely does at this speed.

    The rule of mmdetection3d and its descendants, CMT among them: moving means faster than 0.2 m/s.
    A speed of NaN counts as resting. Barriers and cones have no attribute: the empty string.
    """
    moving, resting = _ATTRIBUTE_MOVING_RESTING[class_name]
    return moving if speed_mps > MOVING_SPEED_MPS else resting


def attributes_of(class_name: str) -> tuple[str, ...]:
    """The attributes that boxes of a class may have; the empty string alone for barriers and cones."""
    kinds = {name.partition(".")[0] for name in _ATTRIBUTE_MOVING_RESTING[class_name]} - {""}
    return tuple(name for name in ATTRIBUTES if name.partition(".")[0] in kinds) or ("",)
