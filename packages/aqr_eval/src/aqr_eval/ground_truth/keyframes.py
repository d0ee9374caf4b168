"""The ground truth of keyframes whose boxes lie in the LiDAR frame, as infos hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import ATTRIBUTE_INDEX, Boxes
from aqr_eval.ground_truth.truth import Cameras, GroundTruth
from aqr_eval.nuscenes.classes import CAMERAS
from aqr_eval.nuscenes.geometry import invert_rigid
from aqr_eval.submission.detections import boxes_to_global


@dataclass(frozen=True, eq=False)
class KeyframeTruth:
    """One annotated moment.

    Attributes:
        token: sample token.
        scene: scene name, "" where unknown.
        lidar2ego, ego2global: (4, 4) at the LiDAR's time.
        boxes: (n, 9) LiDAR frame, as `detections_to_global` takes them; velocity NaN where unknown.
        labels: (n,) index into `DETECTION_CLASSES`.
        attributes: n names, "" for none.
        num_pts: (n,) LiDAR and radar points inside.
        cameras: channel -> (4, 4) projection from the LiDAR frame, and width and height in pixels.
    """

    token: str
    scene: str
    lidar2ego: NDArray[np.float64]
    ego2global: NDArray[np.float64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    attributes: Sequence[str]
    num_pts: NDArray[np.int64]
    cameras: Mapping[str, tuple[NDArray[np.float64], tuple[int, int]]]


def ground_truth_of_keyframes(keyframes: Sequence[KeyframeTruth], name: str) -> GroundTruth:
    """Joins keyframes; no bicycle racks and no visibility, which infos do not hold.

    Boxes and velocities lose what infos lost when they were made: the tilt of a box against the LiDAR's ground plane.
    """
    boxes = [_global_boxes(keyframe) for keyframe in keyframes]
    sample = np.repeat(np.arange(len(boxes)), [len(part) for part in boxes])
    scenes = tuple(keyframe.scene for keyframe in keyframes)
    return GroundTruth(
        tokens=tuple(keyframe.token for keyframe in keyframes),
        ego_translation=np.array([keyframe.ego2global[:3, 3] for keyframe in keyframes]).reshape(-1, 3),
        boxes=Boxes.concatenate(boxes).with_sample(sample),
        bicycle_racks=Boxes.concatenate([]),
        scenes=scenes if all(scenes) else (),
        cameras=_cameras(keyframes),
        name=name,
    )


def _global_boxes(keyframe: KeyframeTruth) -> Boxes:
    placed = boxes_to_global(keyframe.boxes, keyframe.labels, keyframe.ego2global @ keyframe.lidar2ego)
    attribute = np.array([ATTRIBUTE_INDEX.get(name, -1) for name in keyframe.attributes], dtype=np.int64)
    return replace(placed, attribute=attribute, num_pts=keyframe.num_pts)


def _cameras(keyframes: Sequence[KeyframeTruth]) -> Cameras:
    global2img = np.full((len(keyframes), len(CAMERAS), 4, 4), np.nan)
    size = np.zeros((len(keyframes), len(CAMERAS), 2), dtype=np.int64)
    for sample, keyframe in enumerate(keyframes):
        global2lidar = invert_rigid(keyframe.ego2global @ keyframe.lidar2ego)
        for channel, (lidar2img, width_height) in keyframe.cameras.items():
            if channel in CAMERAS:
                camera = CAMERAS.index(channel)
                global2img[sample, camera] = lidar2img @ global2lidar
                size[sample, camera] = width_height
    return Cameras(CAMERAS, global2img, size)
