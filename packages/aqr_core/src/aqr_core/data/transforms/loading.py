"""The transforms that fill a frame from disk: points, past sweeps, six images, annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aqr_core.data.files import find_sensor_file, read_image, read_points
from aqr_core.data.frame import Frame, RawFault
from aqr_core.data.transforms.scene import move_points
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos.schema import POINT_FEATURES, CameraInfo, Info, SweepInfo
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.boxes3d import VX

_AGE = 4  # the ring column of the files is replaced by the age in seconds


def read_keyframe_points(dataroot: Path, info: Info, faults: Sequence[RawFault] = ()) -> np.ndarray:
    """(P, 5) float32 x, y, z, intensity, age 0 of the keyframe's own sweep, after `faults`."""
    points = np.ascontiguousarray(_read_raw(dataroot, info, info.lidar.path, faults))
    points[:, _AGE] = 0.0
    return points


def read_sweep_points(
    dataroot: Path, info: Info, sweep: SweepInfo, close_m: float = 0.0, faults: Sequence[RawFault] = ()
) -> np.ndarray:
    """(P, 5) float32 of a past sweep, moved into the keyframe's LiDAR frame.

    Args:
        dataroot: folder that the paths are relative to.
        info: the keyframe.
        sweep: one of its sweeps.
        close_m: returns within this of the sensor in both x and y, those of the vehicle itself, are left out.
        faults: what happens to the points of the file first.
    """
    points = _read_raw(dataroot, info, sweep.path, faults)
    if close_m:
        points = points[(np.abs(points[:, :2]) >= close_m).any(axis=1)]
    move_points(points, sweep.sweep2lidar)
    points[:, _AGE] = sweep.age
    return points


def _read_raw(dataroot: Path, info: Info, path: str, faults: Sequence[RawFault]) -> np.ndarray:
    """(P, 5) x, y, z, intensity, ring of one file in the sensor's frame, after `faults`."""
    points = read_points(find_sensor_file(dataroot, path), info.lidar.num_features)[:, :POINT_FEATURES]
    for fault in faults:
        points = fault(points, path)
    return points


@TRANSFORMS.register_module()
class LoadPointsFromFile:
    """The keyframe's own sweep: sets `points`, age 0. Where points are blank, as many at the origin."""

    def __call__(self, frame: Frame) -> None:
        """Raises `DataError` for a missing, cut or NaN-holding file."""
        frame.points = read_keyframe_points(frame.dataroot, frame.info, frame.raw_faults)
        if "points" in frame.blank:
            frame.points[:] = 0.0


@TRANSFORMS.register_module()
class LoadPointsFromMultiSweeps:
    """Appends past sweeps, moved into the keyframe's LiDAR frame by the ego motion, with their age in seconds.

    A keyframe at the start of a scene has fewer sweeps; nothing is padded, as in CMT. To blank points nothing is
    added: they all lie in one voxel, which the keyframe's own fill.

    Args:
        sweeps_num: how many sweeps to add at most.
        test_mode: where more are listed, take the newest ones; in training a random choice.
    """

    def __init__(self, sweeps_num: int = 10, test_mode: bool = False) -> None:
        if sweeps_num < 0:
            raise ConfigError(f"LoadPointsFromMultiSweeps: sweeps_num is {sweeps_num}; give 0 or more.")
        self.sweeps_num = sweeps_num
        self.test_mode = test_mode

    def __call__(self, frame: Frame) -> None:
        """Raises `DataError` for a missing, cut or NaN-holding file."""
        chosen = np.arange(len(frame.info.sweeps))
        if len(chosen) > self.sweeps_num and not self.test_mode:
            chosen = np.sort(frame.rng.permutation(chosen)[: self.sweeps_num])
        if "points" in frame.blank:
            return
        sweeps = [frame.info.sweeps[i] for i in chosen[: self.sweeps_num]]
        clouds = [read_sweep_points(frame.dataroot, frame.info, sweep, faults=frame.raw_faults) for sweep in sweeps]
        frame.points = np.concatenate([frame.points, *clouds])


@TRANSFORMS.register_module()
class LoadMultiViewImageFromFiles:
    """The images of all cameras, BGR uint8, with their `cam2img` and `lidar2cam`.

    Blank images are black and of the size that the infos state, unread; without a size there, read for it.
    """

    def __call__(self, frame: Frame) -> None:
        """Raises `DataError` for a missing or cut file, or one of another size than the calibration was made for."""
        cameras = frame.info.cameras.values()
        frame.images = []
        frame.cam2img = np.tile(np.eye(4), (len(cameras), 1, 1))
        frame.lidar2cam = np.stack([camera.lidar2cam for camera in cameras])
        for matrix, camera in zip(frame.cam2img, cameras, strict=True):
            path = find_sensor_file(frame.dataroot, camera.path)
            image = self._image(path, camera, "image" in frame.blank)
            height, width = image.shape[:2]
            if camera.width is not None and (width, height) != (camera.width, camera.height):
                raise DataError(
                    f"{path} is {width}x{height} px, but its calibration is for {camera.width}x{camera.height}; "
                    "restore the original image or correct width and height in sample_data.json."
                )
            matrix[:3, :3] = camera.cam2img
            frame.images.append(image)

    def _image(self, path: Path, camera: CameraInfo, blank: bool) -> np.ndarray:
        if not blank:
            return read_image(path)
        if camera.width is None or camera.height is None:
            return np.zeros_like(read_image(path))
        return np.zeros((camera.height, camera.width, 3), np.uint8)


@TRANSFORMS.register_module()
class LoadAnnotations3D:
    """The annotated boxes of the dataset's classes: sets `gt_boxes` and `gt_labels`.

    Args:
        keep: which boxes: 'lidar' those with a LiDAR point inside (what CMT trains on), 'valid' those with a LiDAR or
            radar point, 'all'.
        zero_unknown_velocity: write 0 for an unknown velocity as upstream's dataset does, which teaches that such
            objects stand still; by default it stays NaN and the box loss leaves the whole box out, as upstream's would.
    """

    def __init__(self, keep: str = "lidar", zero_unknown_velocity: bool = False) -> None:
        if keep not in ("lidar", "valid", "all"):
            raise ConfigError(f"LoadAnnotations3D: keep is '{keep}'; give 'lidar', 'valid' or 'all'.")
        self.keep = keep
        self.zero_unknown_velocity = zero_unknown_velocity

    def __call__(self, frame: Frame) -> None:
        """Boxes of classes that the dataset does not detect are left out."""
        gt = frame.info.gt
        labels = frame.label_of[gt.labels]
        kept = {"lidar": gt.num_lidar_pts > 0, "valid": gt.valid, "all": np.ones(len(gt), bool)}[self.keep]
        kept = kept & (labels >= 0)
        frame.gt_boxes = gt.boxes[kept]
        frame.gt_labels = labels[kept]
        if self.zero_unknown_velocity:
            velocity = frame.gt_boxes[:, VX:]
            velocity[np.isnan(velocity)] = 0.0
