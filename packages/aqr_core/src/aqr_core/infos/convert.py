"""One nuScenes keyframe as an `Info`: everything moves into the LiDAR frame at the keyframe's LiDAR time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.errors import DataError
from aqr_core.infos.schema import CameraInfo, GroundTruth, Info, LidarInfo, SweepInfo
from aqr_core.structures.boxes3d import wlh_to_size
from aqr_core.structures.frames import invert_rigid
from aqr_eval.nuscenes.classes import CAMERAS, DETECTION_CLASSES
from aqr_eval.nuscenes.geometry import quaternion_to_matrix
from aqr_eval.nuscenes.tables import Annotation, Keyframe, SensorFrame

_LABEL = {name: label for label, name in enumerate(DETECTION_CLASSES)}


def keyframe_to_info(keyframe: Keyframe) -> Info:
    """Poses, sweeps, cameras and the boxes of the ten classes of one keyframe.

    The vehicle moves between the LiDAR's time and each camera's, up to 0.4 m within 43 ms, so every transform
    goes through both ego poses.

    Raises:
        DataError: the tables lack one of the six cameras for this keyframe.
    """
    absent = [channel for channel in CAMERAS if channel not in keyframe.cameras]
    if absent:
        raise DataError(
            f"sample_data.json has no keyframe of {', '.join(absent)} for sample '{keyframe.token}' of "
            f"{keyframe.scene_name}; restore the table from the nuScenes archive."
        )
    lidar2global = _sensor2global(keyframe.lidar)
    return Info(
        token=keyframe.token,
        scene=keyframe.scene_name,
        timestamp=keyframe.timestamp_us / 1e6,
        prev=keyframe.prev,
        next=keyframe.next,
        ego2global=keyframe.lidar.ego2global,
        lidar=LidarInfo(keyframe.lidar.filename, keyframe.lidar.sensor2ego),
        sweeps=tuple(_sweep(sweep, keyframe.lidar.timestamp_us, lidar2global) for sweep in keyframe.sweeps),
        cameras={channel: _camera(keyframe.cameras[channel], lidar2global) for channel in CAMERAS},
        gt=_ground_truth(keyframe.annotations, invert_rigid(lidar2global)),
    )


def _sensor2global(sensor: SensorFrame) -> np.ndarray:
    return sensor.ego2global @ sensor.sensor2ego


def _sweep(sweep: SensorFrame, key_timestamp_us: int, lidar2global: np.ndarray) -> SweepInfo:
    return SweepInfo(
        path=sweep.filename,
        age=(key_timestamp_us - sweep.timestamp_us) / 1e6,
        sweep2lidar=invert_rigid(lidar2global) @ _sensor2global(sweep),
    )


def _camera(camera: SensorFrame, lidar2global: np.ndarray) -> CameraInfo:
    if camera.intrinsic is None:
        raise DataError(
            f"calibrated_sensor.json has no camera_intrinsic for {camera.channel} ({camera.filename}); "
            "restore the table from the nuScenes archive."
        )
    return CameraInfo(
        path=camera.filename,
        width=camera.width or None,
        height=camera.height or None,
        timestamp=camera.timestamp_us / 1e6,
        cam2img=camera.intrinsic,
        lidar2cam=invert_rigid(_sensor2global(camera)) @ lidar2global,
    )


def _ground_truth(annotations: Sequence[Annotation], global2lidar: np.ndarray) -> GroundTruth:
    """Boxes turned about z only: the small tilt of a box against the LiDAR's floor is dropped, as everywhere."""
    known = [a for a in annotations if a.class_name is not None]
    rotation = global2lidar[:3, :3]
    centres = _rows([a.translation for a in known], 3) @ rotation.T + global2lidar[:3, 3]
    headings = quaternion_to_matrix(_rows([a.rotation_wxyz for a in known], 4))[..., 0] @ rotation.T  # (n, 3)
    yaws = np.arctan2(headings[:, 1], headings[:, 0])
    velocities = _rows([a.velocity for a in known], 2) @ rotation[:2, :2].T  # the global velocity is horizontal
    sizes = wlh_to_size(_rows([a.size_wlh for a in known], 3))
    num_lidar_pts = np.array([a.num_lidar_pts for a in known], np.int64)
    num_radar_pts = np.array([a.num_radar_pts for a in known], np.int64)
    return GroundTruth(
        boxes=np.hstack([centres, sizes, yaws[:, None], velocities]),
        labels=np.array([_LABEL[str(a.class_name)] for a in known], np.int64),
        num_lidar_pts=num_lidar_pts,
        num_radar_pts=num_radar_pts,
        attributes=tuple(a.attribute for a in known),
        valid=num_lidar_pts + num_radar_pts > 0,
        instances=tuple(a.instance_token for a in known),
    )


def _rows(values: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Vectors -> (n, width), also for n = 0."""
    return np.asarray(values, np.float64).reshape(-1, width)
