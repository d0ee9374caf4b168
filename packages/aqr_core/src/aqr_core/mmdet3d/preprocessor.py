"""mmdet3d's collated samples -> our `Batch`, on the device of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet3d.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn.functional import pad

from aqr_core.data.transforms import NormalizeMultiviewImage
from aqr_core.errors import ConfigError
from aqr_core.infos.schema import POINT_FEATURES
from aqr_core.mmdet3d.boxes import lidar_boxes_to_rows
from aqr_core.mmdet3d.projection import lidar2img_of
from aqr_core.structures import Batch
from aqr_core.structures.boxes3d import BOX_DIM

_AGE = 4
_OLDEST_S = 3.0  # ten sweeps reach back half a second; a ring number, which a file has in this column, goes up to 31


@MODELS.register_module()
class AqrDataPreprocessor(BaseDataPreprocessor):
    """What `CmtDetector` needs before its first layer.

    `forward(data)` gives `dict(inputs=Batch, data_samples=...)`: points as they are, images normalised exactly once and
    padded at the bottom and the right, `lidar2img` of `projection.lidar2img_of`, boxes about their gravity centre.

    A sample's `seed`, from which the head draws its denoising noise, follows from (seed of the runner, iteration,
    `sample_idx`): it depends neither on workers nor on what else was drawn, and a run that is resumed draws the same.

    Args:
        mean: BGR, in [0, 255]; CMT's by default.
        std: BGR.
        size_divisor: px, of the padded images.
        non_blocking: of the copies to the device.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size_divisor: int = 32,
        non_blocking: bool = False,
    ) -> None:
        super().__init__(non_blocking)
        given = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
        normalise = NormalizeMultiviewImage(**given)  # one place for the defaults and the check
        self.mean, self.std = normalise.mean, normalise.std
        self.size_divisor = size_divisor

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:  # noqa: ANN401 - a mapping, or a user's slip
        """Build the batch.

        Args:
            data: `inputs` with lists `points` and `img`, and `data_samples`.
            training: unused; augmentation is the pipeline's.

        Raises:
            ConfigError: the pipeline left something that CMT cannot read.
        """
        inputs, samples = _checked(data)
        columns = [_checked_points(points) for points in inputs.get("points", ())]
        images = [_checked_images(views) for views in inputs.get("img", ())]
        if len({views.shape for views in images}) > 1:
            shapes = sorted({tuple(views.shape) for views in images})
            raise ConfigError(f"Samples of one batch have images of shapes {shapes}; resize them to one size.")
        metas = [sample.metainfo for sample in samples]
        normalised = [_is_normalised(meta, views) for meta, views in zip(metas, images, strict=False)]
        lidar2img = [self._project(meta, views) for meta, views in zip(metas, images, strict=False)]
        moved = self.cast_data({"points": columns, "img": images, "samples": samples})
        batch = Batch(
            tokens=[str(meta.get("token", meta.get("sample_idx", i))) for i, meta in enumerate(metas)],
            points=[points.float() for points in moved["points"]],
            images=self._stack(moved["img"], normalised, len(samples)),
            lidar2img=torch.stack(lidar2img).to(self.device) if lidar2img else torch.zeros(len(samples), 0, 4, 4),
            gt_boxes=[_boxes(sample) for sample in moved["samples"]],
            gt_labels=[_labels(sample) for sample in moved["samples"]],
            seeds=_seeds(metas),
            working=torch.tensor([list(meta.get("working", (True, True))) for meta in metas]).to(self.device),
            faults=[dict(meta.get("faults", {})) for meta in metas],
        )
        return {"inputs": batch, "data_samples": moved["samples"]}

    def _project(self, meta: Mapping[str, Any], views: Tensor) -> Tensor:
        return torch.from_numpy(lidar2img_of(meta, [views.shape[-1]] * len(views)))

    def _stack(self, images: list[Tensor], normalised: list[bool], count: int) -> Tensor:
        """(B, N, 3, H, W) float32."""
        if not images:
            return torch.zeros(count, 0, 3, 0, 0, device=self.device)
        stacked = torch.stack(
            [views.float() if done else self._normalise(views) for views, done in zip(images, normalised, strict=True)]
        )
        height, width = stacked.shape[-2:]
        return pad(stacked, (0, -width % self.size_divisor, 0, -height % self.size_divisor))

    def _normalise(self, views: Tensor) -> Tensor:
        mean, std = (views.new_tensor(values, dtype=torch.float32) for values in (self.mean, self.std))
        return (views.float() - mean[:, None, None]) / std[:, None, None]


def _checked(data: Any) -> tuple[Mapping[str, Any], list[Any]]:  # noqa: ANN401
    """`inputs` and `data_samples`, one of each kind per sample."""
    if not isinstance(data, Mapping):
        raise ConfigError("CMT has no test-time augmentation here; remove MultiScaleFlipAug3D or tta_pipeline.")
    inputs, samples = data["inputs"], data.get("data_samples")
    if not samples:
        raise ConfigError("The batch has no data_samples, which carry the cameras; pack it with PackAqrInputs.")
    if "points" not in inputs and "img" not in inputs:
        raise ConfigError(
            f"The batch has neither 'points' nor 'img', but {sorted(inputs) or 'nothing'}; load a sensor, and name its "
            "key in PackAqrInputs."
        )
    return inputs, list(samples)


def _checked_points(points: Tensor) -> Tensor:
    """(P, 5) with the age in the last column."""
    if points.dim() != 2 or points.shape[1] != POINT_FEATURES:
        raise ConfigError(
            f"Points have shape {tuple(points.shape)}, and CMT reads x, y, z, intensity, age; set load_dim=5 and "
            "use_dim=5 in LoadPointsFromFile and in LoadPointsFromMultiSweeps."
        )
    if len(points) and not 0 <= float(points[:, _AGE].min()) <= float(points[:, _AGE].max()) <= _OLDEST_S:
        low, high = float(points[:, _AGE].min()), float(points[:, _AGE].max())
        raise ConfigError(
            f"The fifth column of the points runs from {low:g} to {high:g}, so it is not their age in seconds but "
            "perhaps the ring number of the file; add LoadPointsFromMultiSweeps (sweeps_num=0 for the keyframe alone)."
        )
    return points


def _checked_images(views: Tensor) -> Tensor:
    """(N, 3, H, W)."""
    if views.dim() != 4 or views.shape[1] != 3:
        raise ConfigError(
            f"'img' has shape {tuple(views.shape)}, and CMT reads (cameras, 3, height, width); load all cameras with "
            "LoadMultiViewImageFromFiles(color_type='color')."
        )
    return views


def _is_normalised(meta: Mapping[str, Any], views: Tensor) -> bool:
    """What `img_norm_cfg` says; mmcv's `Normalize` loses it in `MultiViewWrapper`, which negative pixels betray."""
    norm = meta.get("img_norm_cfg") or {}
    mean, std = (np.asarray(norm.get(key, value), np.float64) for key, value in (("mean", 0.0), ("std", 1.0)))
    if norm.get("to_rgb"):
        raise ConfigError("Images were turned to RGB, and CMT reads BGR; set to_rgb=False in Normalize.")
    if mean.any() or (std != 1).any():
        return True
    if views.is_floating_point() and views.numel() and float(views.min()) < 0:
        raise ConfigError(
            f"Images hold {float(views.min()):.2f}, so they were normalised, but 'img_norm_cfg' does not say so and "
            "they would be normalised twice; remove Normalize from MultiViewWrapper, AqrDataPreprocessor does it."
        )
    return False


def _boxes(sample: Any) -> Tensor:  # noqa: ANN401 - Det3DDataSample
    boxes = sample.gt_instances_3d.get("bboxes_3d") if "gt_instances_3d" in sample else None
    return torch.zeros(0, BOX_DIM) if boxes is None else lidar_boxes_to_rows(boxes)


def _labels(sample: Any) -> Tensor:  # noqa: ANN401 - Det3DDataSample
    labels = sample.gt_instances_3d.get("labels_3d") if "gt_instances_3d" in sample else None
    return torch.zeros(0, dtype=torch.int64) if labels is None else labels.long()


def _seeds(metas: Sequence[Mapping[str, Any]]) -> list[int]:
    """One per sample, of the runner's seed, the iteration and the sample."""
    hub = MessageHub.get_current_instance()
    run, iteration = hub.get_info("seed", 0), hub.get_info("iter", 0)
    return [
        int(np.random.default_rng((int(run or 0), int(iteration or 0), int(meta.get("sample_idx", i)))).integers(2**63))
        for i, meta in enumerate(metas)
    ]
