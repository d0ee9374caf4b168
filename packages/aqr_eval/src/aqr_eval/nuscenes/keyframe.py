"""What one annotated moment of a drive consists of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class SensorFrame:
    """One file of one sensor and where the sensor was.

    Attributes:
        channel: e.g. "LIDAR_TOP", "CAM_FRONT".
        filename: path relative to the dataroot.
        timestamp_us: time of this very file.
        sensor2ego: (4, 4) pose of the sensor on the vehicle.
        ego2global: (4, 4) pose of the vehicle at `timestamp_us`.
        intrinsic: (3, 3) pixels, None for LiDAR.
        width: pixels, 0 for LiDAR.
        height: pixels, 0 for LiDAR.
    """

    channel: str
    filename: str
    timestamp_us: int
    sensor2ego: NDArray[np.float64]
    ego2global: NDArray[np.float64]
    intrinsic: NDArray[np.float64] | None
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One annotated object in one keyframe, in the global frame.

    Attributes:
        token: annotation token.
        instance_token: the same for one object over time.
        category: nuScenes category, e.g. "vehicle.car".
        class_name: detection class, None where the category is not evaluated.
        translation: (3,) centre, metres.
        size_wlh: (3,) width, length, height, metres.
        rotation_wxyz: (4,) quaternion.
        velocity: (2,) m/s, NaN where unknown.
        num_lidar_pts: LiDAR points inside the box.
        num_radar_pts: radar points inside the box.
        attribute: attribute name or "".
        visibility: visibility level such as "v80-100", or "".
    """

    token: str
    instance_token: str
    category: str
    class_name: str | None
    translation: NDArray[np.float64]
    size_wlh: NDArray[np.float64]
    rotation_wxyz: NDArray[np.float64]
    velocity: NDArray[np.float64]
    num_lidar_pts: int
    num_radar_pts: int
    attribute: str
    visibility: str


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """One annotated moment: a nuScenes sample with its sensors.

    Attributes:
        token: sample token.
        scene_name: e.g. "scene-0103".
        timestamp_us: sample time.
        prev: token of the sample before, "" at the start of the scene.
        next: token of the sample after, "" at the end of the scene.
        lidar: the LIDAR_TOP keyframe.
        sweeps: earlier LIDAR_TOP files of the scene, newest first.
        cameras: channel -> keyframe, those that the tables hold, in the order of `CAMERAS`.
        annotations: in file order.
    """

    token: str
    scene_name: str
    timestamp_us: int
    prev: str
    next: str
    lidar: SensorFrame
    sweeps: tuple[SensorFrame, ...]
    cameras: dict[str, SensorFrame]
    annotations: tuple[Annotation, ...]
