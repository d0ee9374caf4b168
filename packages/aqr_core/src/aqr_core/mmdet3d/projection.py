"""`lidar2img` from what mmdet3d's transforms leave in a result dict or in the metadata of a sample.

mmdet3d moves points and boxes and records how; cameras it leaves where they were. It resizes, crops and mirrors images,
and records that as well, but whether `cam2img` follows depends on the transform and on the container: `Resize3D` scales
it, `RandomCrop3D` shifts it only where it is an array and not the nested list of nuScenes infos, a flip never changes
it. So the intrinsics are composed here from `ori_cam2img` and the records, and what stands in `cam2img` only serves as
a check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aqr_core.errors import ConfigError

Meta = Mapping[str, Any]
_RECORD = {"R": "pcd_rotation", "S": "pcd_scale_factor", "T": "pcd_trans"}
_MIRRORS = {"HF": np.diag([1.0, -1.0, 1.0, 1.0]), "VF": np.diag([-1.0, 1.0, 1.0, 1.0])}


def lidar2img_of(meta: Meta, widths: Sequence[int]) -> np.ndarray:
    """(N, 4, 4) float64: from the augmented scene to pixels of the augmented images, times depth.

    Args:
        meta: a result dict, or the metadata of a packed sample.
        widths: px of the N images as they are now.

    Raises:
        ConfigError: a matrix or a record is missing, or the records do not determine the projection.
    """
    return cam2img_of(meta, widths) @ lidar2cam_of(meta, len(widths))


def lidar2cam_of(meta: Meta, count: int) -> np.ndarray:
    """(N, 4, 4) float64: from the scene as it is to the cameras, which no augmentation of the scene moves.

    Raises:
        ConfigError: see `lidar2img_of`.
    """
    return _matrices(meta, "lidar2cam", count) @ np.linalg.inv(scene_motion(meta))


def scene_motion(meta: Meta) -> np.ndarray:
    """(4, 4) that took the scene as loaded to the scene as it is: `GlobalRotScaleTrans` and `RandomFlip3D`.

    Raises:
        ConfigError: a record is missing, or was overwritten by a second transform of the kind.
    """
    flow = meta.get("transformation_3d_flow")
    if flow is None:
        present = [key for key in (*_RECORD.values(), "pcd_horizontal_flip", "pcd_vertical_flip") if key in meta]
        if present:
            raise ConfigError(
                f"The sample has '{present[0]}' but no 'transformation_3d_flow', so the order in which the scene was "
                "moved is unknown; pack it with PackAqrInputs, or add the key to the meta_keys of Pack3DDetInputs."
            )
        return np.eye(4)
    motion = np.eye(4)
    for step in flow:
        if step in _RECORD and list(flow).count(step) > 1:
            raise ConfigError(
                f"The scene was moved by '{step}' {list(flow).count(step)} times, and mmdet3d keeps '{_RECORD[step]}' "
                "of the last time only; use one GlobalRotScaleTrans."
            )
        motion = _step_matrix(step, meta) @ motion
    return motion


def _step_matrix(step: str, meta: Meta) -> np.ndarray:
    if step in _MIRRORS:
        return _MIRRORS[step]
    if step not in _RECORD:
        raise ConfigError(
            f"'transformation_3d_flow' holds '{step}', which is none of R, S, T, HF, VF; remove its step."
        )
    if _RECORD[step] not in meta:
        raise ConfigError(
            f"The scene was moved by '{step}', but the sample lacks '{_RECORD[step]}'; pack it with PackAqrInputs, or "
            "add the key to the meta_keys of Pack3DDetInputs."
        )
    value = np.asarray(meta[_RECORD[step]], np.float64)
    matrix = np.eye(4)
    if step == "R":
        matrix[:3, :3] = value.T  # recorded for rows: point @ rotation
    elif step == "S":
        matrix[:3, :3] *= value
    else:
        matrix[:3, 3] = value
    return matrix


def cam2img_of(meta: Meta, widths: Sequence[int]) -> np.ndarray:
    """(N, 4, 4) intrinsics of the images as they are: resized, then cropped, then mirrored, each as far as recorded.

    That is the order of mmdet3d's own multi-view configs. One that the records contradict is refused; not every other
    order shows in them.

    Raises:
        ConfigError: see `lidar2img_of`.
    """
    count = len(widths)
    current = _matrices(meta, "cam2img", count)
    scale = _per_view(meta, "scale_factor", count, 1.0)
    offset = _per_view(meta, "img_crop_offset", count, (0, 0))
    flip = _per_view(meta, "flip", count, False)
    if flip[0] and not isinstance(meta["flip"], list) and count > 1:
        raise ConfigError(
            f"RandomFlip3D has turned the {count} images upside down, as it does with images that are loaded before "
            "it; put it before LoadMultiViewImageFromFiles, or use AqrTransforms with CustomRandomFlip3D."
        )
    original = _matrices(meta, "ori_cam2img", count) if "ori_cam2img" in meta else current
    composed = np.empty_like(original)
    for i in range(count):
        steps = [original[i]]
        steps.append(np.diag([*np.broadcast_to(np.asarray(scale[i], np.float64), 2), 1.0, 1.0]) @ steps[-1])
        steps.append(_shift(*offset[i]) @ steps[-1])
        if "ori_cam2img" in meta and not any(np.allclose(current[i], step, rtol=1e-4, atol=1e-3) for step in steps):
            raise ConfigError(
                f"'cam2img' of image {i} is none that follows from scale_factor {scale[i]} and img_crop_offset "
                f"{list(offset[i])}; resize (with Resize3D) before you crop, or use AqrTransforms with "
                "ResizeCropFlipImage."
            )
        composed[i] = (_mirror(meta, i, count, widths[i]) if flip[i] else np.eye(4)) @ steps[-1]
    return composed


def _mirror(meta: Meta, view: int, count: int, width: int) -> np.ndarray:
    """(4, 4) pixels of the mirrored image, column u -> width - u."""
    if "flip_direction" not in meta:
        raise ConfigError("An image was mirrored, but the sample lacks 'flip_direction'; pack it with PackAqrInputs.")
    direction = _per_view(meta, "flip_direction", count, None)[view]
    if direction != "horizontal":
        raise ConfigError(f"An image was mirrored in direction '{direction}'; CMT knows 'horizontal' alone.")
    if meta.get("pad_size_divisor") or meta.get("pad_fixed_size"):
        raise ConfigError(
            "An image was mirrored and padded, and mmdet3d does not record which came first; leave the padding to "
            "AqrDataPreprocessor."
        )
    mirror = np.eye(4)
    mirror[0, 0], mirror[0, 2] = -1.0, width
    return mirror


def _shift(left: float, top: float) -> np.ndarray:
    shift = np.eye(4)
    shift[:2, 2] = -left, -top
    return shift


def _per_view(meta: Meta, key: str, count: int, default: Any) -> Sequence[Any]:  # noqa: ANN401 - whatever is recorded
    """`count` values of a record that `MultiViewWrapper` gathers in a list, or one value for all views."""
    value = meta.get(key)
    if value is None:
        return [default] * count
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise ConfigError(
            f"'{key}' has {len(value)} entries for {count} images, as a second MultiViewWrapper leaves it; put all "
            "image transforms into one."
        )
    return value


def _matrices(meta: Meta, key: str, count: int) -> np.ndarray:
    """(count, 4, 4) float64 from 3x3 or 4x4 matrices."""
    if key not in meta:
        raise ConfigError(
            f"The sample has {count} images but no '{key}'; load them with LoadMultiViewImageFromFiles and pack them "
            f"with PackAqrInputs, or with Pack3DDetInputs and '{key}' among its meta_keys."
        )
    given = [np.asarray([np.asarray(row) for row in matrix], np.float64) for matrix in meta[key]]
    if len(given) != count or any(matrix.shape not in ((3, 3), (4, 4)) for matrix in given):
        shapes = sorted({matrix.shape for matrix in given})
        raise ConfigError(
            f"'{key}' holds {len(given)} matrices of shapes {shapes} for {count} images; give one 3x3 or 4x4 each."
        )
    matrices = np.tile(np.eye(4), (count, 1, 1))
    for target, matrix in zip(matrices, given, strict=True):
        size = len(matrix)
        target[:size, :size] = matrix
    return matrices
