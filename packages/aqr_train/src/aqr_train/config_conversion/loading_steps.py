"""Steps that read: points, images, annotations."""

from __future__ import annotations

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.surroundings import Steps, Surroundings, known_velocity, taken

_DISK = ({"backend": "disk"}, {"backend": "local"}, None)
_FIVE = [0, 1, 2, 3, 4]
_POINTS = "points are the five float32 of nuScenes"


def load_points(step: Fields, around: Surroundings) -> Steps:
    """Points of the keyframe."""
    step.fixed("coord_type", "LIDAR", why=_POINTS)
    step.fixed("load_dim", 5, why=_POINTS)
    step.fixed("use_dim", _FIVE, 5, why=_POINTS)
    step.fixed("shift_height", False, why=_POINTS)
    step.fixed("use_color", False, why=_POINTS)
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type")}]


def load_sweeps(step: Fields, around: Surroundings) -> Steps:
    """Points of the sweeps before."""
    step.fixed("load_dim", 5, why=_POINTS)
    step.fixed("use_dim", _FIVE, why=_POINTS)
    step.fixed("time_dim", 4, why=_POINTS)
    step.fixed("pad_empty_sweeps", False, why="a keyframe without sweeps stays without")
    step.fixed("remove_close", False, why="points near the sensor stay")
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type"), **taken(step, {"sweeps_num": 0, "test_mode": 0})}]


def load_images(step: Fields, around: Surroundings) -> Steps:
    """The six images."""
    step.fixed("to_float32", False, why="images are uint8 until they are normalised")
    step.fixed("color_type", "unchanged", "color", why="images are BGR")
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type")}]


def load_boxes(step: Fields, around: Surroundings) -> Steps:
    """The annotations."""
    step.fixed("with_bbox_3d", True, why="boxes and labels are always loaded")
    step.fixed("with_label_3d", True, why="boxes and labels are always loaded")
    for name in ("with_attr_label", "with_mask_3d", "with_seg_3d", "with_bbox", "with_label", "with_mask", "with_seg"):
        step.fixed(name, False, why="the detector reads boxes and labels alone")
    step.fixed("with_bbox_depth", False, why="the detector reads boxes and labels alone")
    keep = {"keep": "valid"} if around.use_valid_flag else {}
    return [{"type": step.keep("type"), **keep, **known_velocity(step)}]
