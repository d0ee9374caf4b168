"""Our transforms in mmdet3d's pipelines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet3d.datasets import NuScenesDataset
from mmdet3d.registry import TRANSFORMS
from mmdet3d.structures.points import LiDARPoints

from aqr_core.data.frame import Frame
from aqr_core.data.pipeline import Pipeline
from aqr_core.data.transforms import (
    LoadAnnotations3D,
    LoadMultiViewImageFromFiles,
    LoadPointsFromFile,
    NormalizeMultiviewImage,
)
from aqr_core.errors import ConfigError
from aqr_core.infos.mmdet3d import Mmdet3dInfos
from aqr_core.infos.schema import POINT_FEATURES, Info
from aqr_core.mmdet3d.boxes import lidar_boxes_to_rows, rows_to_lidar_boxes
from aqr_core.mmdet3d.projection import cam2img_of, lidar2cam_of
from aqr_eval.nuscenes.classes import DETECTION_CLASSES

_KEYFRAME = "aqr_keyframe"  # the record as it came, read once: what follows may write into the dict
_SCENE_RECORDS = (
    "transformation_3d_flow",
    "pcd_rotation",
    "pcd_rotation_angle",
    "pcd_scale_factor",
    "pcd_trans",
    "pcd_horizontal_flip",
    "pcd_vertical_flip",
)
_IMAGE_RECORDS = ("scale", "scale_factor", "img_crop_offset", "crop_size", "flip", "flip_direction")


@TRANSFORMS.register_module()
class AqrTransforms(BaseTransform):
    """Runs transforms of ours on the result dict of mmdet3d's `NuScenesDataset`: dict -> `Frame` -> dict.

    What mmdet3d's transforms did to the scene and to the images before is folded into `lidar2cam` and `cam2img`, and
    its records are removed, so steps of both kinds may follow one another in any order. Ours may load as well:
    `LoadPointsFromMultiSweeps` here is exact where mmdet3d's of that name is off in curves (docs/mmdet3d.md).

    Every sample draws from a generator of its own, whose seed is one draw from numpy's global one: the one that
    mmengine seeds in every worker.

    Args:
        transforms: steps of an `aqr_core.data.Pipeline`; `until_epoch` needs `AqrHook` among the custom_hooks.
        classes: names that the labels count, the dataset's `metainfo['classes']`.
        data_root: where steps with files of their own find them, such as the database of `UnifiedObjectSample`.
        split: what '{split}' in their names becomes.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        classes: Sequence[str] = DETECTION_CLASSES,
        data_root: str | None = None,
        split: str = "train",
    ) -> None:
        self.pipeline = Pipeline(transforms)
        self.classes = tuple(classes)
        if data_root is not None:
            self.pipeline.open_files(Path(data_root), self.classes, split)
        steps = tuple(self.pipeline)
        self._loads_points = any(isinstance(step, LoadPointsFromFile) for step in steps)
        self._loads_images = any(isinstance(step, LoadMultiViewImageFromFiles) for step in steps)
        self._loads_boxes = any(isinstance(step, LoadAnnotations3D) for step in steps)
        self._norm = next((step for step in steps if isinstance(step, NormalizeMultiviewImage)), None)
        self._epoch = torch.full((), -1).share_memory_()  # seen by workers that live on; -1: nobody has told

    def set_epoch(self, epoch: int) -> None:
        """Called by `AqrHook` before every epoch."""
        self._epoch.fill_(epoch)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change the dict.

        Raises:
            ConfigError: the dict holds something that our transforms cannot work on.
        """
        epoch = int(self._epoch)
        if epoch < 0 and self.pipeline.switches:
            name = next(iter(self.pipeline.switches.values()))[0]
            raise ConfigError(
                f"'{name}' has until_epoch, and nobody tells the epoch; add custom_hooks=[dict(type='AqrHook')]."
            )
        frame = self._frame(results)
        self.pipeline(frame, max(epoch, 0))
        self._write_back(frame, results)
        if self._norm is not None:
            results["img_norm_cfg"] = dict(mean=self._norm.mean, std=self._norm.std, to_rgb=False)
        return results

    def _frame(self, results: dict[str, Any]) -> Frame:
        if _KEYFRAME not in results:
            results[_KEYFRAME] = _keyframe_of(results)
        info, dataroot = results[_KEYFRAME]
        label_of = np.array([self.classes.index(n) if n in self.classes else -1 for n in DETECTION_CLASSES], np.int64)
        frame = Frame(info, dataroot, np.random.default_rng(np.random.randint(2**63 - 1)), self.classes, label_of)
        if "points" in results:
            frame.points = _points_of(results["points"])
        images = results.get("img", [])
        cameras = results.get("images") or {}
        if isinstance(images, np.ndarray) and images.ndim == 3:
            raise ConfigError("'img' is one image, and CMT reads all cameras; use LoadMultiViewImageFromFiles.")
        if len(images):
            frame.cam2img = cam2img_of(results, [image.shape[1] for image in images])
            frame.lidar2cam = lidar2cam_of(results, len(images))
            frame.images = [np.ascontiguousarray(image) for image in images]
        elif cameras:  # a scene that moves before its images are loaded takes the cameras of the record along
            before = [camera["lidar2cam"] for camera in cameras.values()]
            frame.lidar2cam = lidar2cam_of({**results, "lidar2cam": before}, len(cameras))
            if self._loads_images and not np.allclose(frame.lidar2cam, _lidar2cam(info, cameras), atol=1e-3):
                raise ConfigError(
                    "The scene was moved before LoadMultiViewImageFromFiles of AqrTransforms, which would lose that; "
                    "load the images first."
                )
        if "gt_bboxes_3d" in results:
            frame.gt_boxes = lidar_boxes_to_rows(results["gt_bboxes_3d"]).numpy().astype(np.float64)
            frame.gt_labels = np.asarray(results["gt_labels_3d"], np.int64)
        return frame

    def _write_back(self, frame: Frame, results: dict[str, Any]) -> None:
        """What was there before or was loaded now; a sensor that the dict does not have does not appear in it."""
        if self._loads_points or "points" in results:
            results["points"] = LiDARPoints(frame.points, points_dim=POINT_FEATURES)
        if self._loads_boxes or "gt_bboxes_3d" in results:
            results["gt_bboxes_3d"] = rows_to_lidar_boxes(torch.from_numpy(frame.gt_boxes))
            results["gt_labels_3d"] = frame.gt_labels
        for key in (*_SCENE_RECORDS, *_IMAGE_RECORDS):
            results.pop(key, None)
        if len(frame.images):
            results["img"] = list(frame.images)
            results["img_shape"] = results["pad_shape"] = frame.images[0].shape[:2]
            results["cam2img"], results["ori_cam2img"] = list(frame.cam2img), list(frame.cam2img.copy())
            results["lidar2cam"] = list(frame.lidar2cam)
        else:
            for camera, lidar2cam in zip((results.get("images") or {}).values(), frame.lidar2cam, strict=True):
                camera["lidar2cam"] = lidar2cam.tolist()
        results["working"] = ["points" not in frame.blank, "image" not in frame.blank]
        results["faults"] = frame.faults


def _keyframe_of(results: Mapping[str, Any]) -> tuple[Info, Path]:
    """The checked record of the keyframe, and the folder that its paths are relative to."""
    first = (results.get("lidar_points") or {}).get("lidar_path")
    if first is None:
        raise ConfigError(
            "The result dict has no 'lidar_points'; AqrTransforms works on NuScenesDataset with modality=dict("
            "use_lidar=True, use_camera=True) and load_type='frame_based'."
        )
    path = Path(first)
    dataroot = path.parents[2] if len(path.parts) > 3 and path.parts[-3] in ("samples", "sweeps") else path.parent
    names = NuScenesDataset.METAINFO["classes"]
    metainfo = {"categories": {name: i for i, name in enumerate(names)}, "info_version": "1.1"}
    return Mmdet3dInfos(path, {"metainfo": metainfo, "data_list": [results]})[0], dataroot


def _lidar2cam(info: Info, cameras: Iterable[str]) -> np.ndarray:
    return np.stack([info.cameras[name].lidar2cam for name in cameras])


def _points_of(points: Any) -> np.ndarray:  # noqa: ANN401 - BasePoints
    if not isinstance(points, LiDARPoints) or points.tensor.shape[1] != POINT_FEATURES:
        raise ConfigError(
            f"Points are {type(points).__name__} of shape {tuple(points.shape)}; load them with coord_type='LIDAR', "
            "load_dim=5 and use_dim=5."
        )
    array: np.ndarray = points.tensor.numpy()
    return array.copy()
