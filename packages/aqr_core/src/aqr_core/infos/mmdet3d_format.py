"""What mmdetection3d 1.1 to 1.4 fixes for nuScenes: the names that its numbers stand for, and where its files lie."""

from __future__ import annotations

from aqr_eval.nuscenes.classes import LIDAR

INFO_VERSION = "1.1"

# Labels count this order, whatever order a file or a config names: its dataset maps from here.
MMDET3D_CLASSES: tuple[str, ...] = (
    "car",
    "truck",
    "trailer",
    "bus",
    "construction_vehicle",
    "bicycle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "barrier",
)

# `attr_label` counts this order; the last stands for none.
MMDET3D_ATTRIBUTES: tuple[str, ...] = (
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.moving",
    "pedestrian.standing",
    "pedestrian.sitting_lying_down",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
    "",
)

# Its infos hold bare file names; the folders are the dataset's `data_prefix`, by convention these.
KEYFRAME_FOLDER = f"samples/{LIDAR}"
SWEEP_FOLDER = f"sweeps/{LIDAR}"


def camera_folder(channel: str) -> str:
    """Where the images of a camera lie."""
    return f"samples/{channel}"
