"""CMT: Cross Modal Transformer, a LiDAR-camera detector (arXiv 2301.01283)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError, NonFiniteError
from aqr_core.models.foreign import check_backward, encode_voxels, finest
from aqr_core.models.geometry import BevGeometry
from aqr_core.models.grid_mask import GridMask
from aqr_core.models.precision import keep_float32
from aqr_core.models.voxel.sparse_tensor import batch_coords
from aqr_core.registry import MODELS, build
from aqr_core.structures import Batch, Detections

Config = Mapping[str, Any]


@MODELS.register_module()
class CmtDetector(nn.Module):
    """Image branch and LiDAR branch, each optional, and the head that reads both.

    Every argument but the last two is the config of the child of that name, as upstream; None leaves the child out.
    A child may be mmdet3d's or mmdet's, such as `type='mmdet3d.SECOND'`. Without image backbone it is the LiDAR-only
    detector, without point encoder the camera-only one.

    Args:
        img_backbone: images -> feature maps.
        img_neck: feature maps -> pyramid, finest level first; only that one is read.
        pts_voxel_layer: points -> voxels; its `type` may be missing, as upstream.
        pts_voxel_encoder: voxels -> one vector each.
        pts_middle_encoder: sparse voxels -> dense map; `sparse_shape` follows from the voxel layer unless given.
        pts_backbone: dense map -> stages.
        pts_neck: stages -> one map.
        pts_bbox_head: both maps -> queries, losses, boxes.
        train_cfg: `pts` goes to the head, as upstream.
        test_cfg: likewise.
        use_grid_mask: mask images in training.
        float32: globs over names of modules that autocast leaves alone, besides those listed in `precision`; None is
            SECOND, as upstream trained it.

    Attributes:
        geometry: what its weights must have been trained with; `state_dict()` states it in its metadata. None for a
            head of another kind, which does not say.
    """

    def __init__(
        self,
        img_backbone: Config | None = None,
        img_neck: Config | None = None,
        pts_voxel_layer: Config | None = None,
        pts_voxel_encoder: Config | None = None,
        pts_middle_encoder: Config | None = None,
        pts_backbone: Config | None = None,
        pts_neck: Config | None = None,
        pts_bbox_head: Config | None = None,
        train_cfg: Config | None = None,
        test_cfg: Config | None = None,
        use_grid_mask: bool = False,
        float32: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        _check_branches(locals())
        self.grid_mask = GridMask() if use_grid_mask else None
        self.img_backbone = _build(img_backbone)
        self.img_neck = _build(img_neck)
        self.pts_voxel_layer = _build(pts_voxel_layer, "HardVoxelize")
        self.pts_voxel_encoder = _build(pts_voxel_encoder)
        shape = {} if self.pts_voxel_layer is None else {"sparse_shape": self.pts_voxel_layer.sparse_shape}
        self.pts_middle_encoder = _build(pts_middle_encoder, **shape)
        self.pts_backbone = _build(pts_backbone)
        self.pts_neck = _build(pts_neck)
        stages = {"train_cfg": (train_cfg or {}).get("pts"), "test_cfg": (test_cfg or {}).get("pts")}
        self.pts_bbox_head = _build(pts_bbox_head, **{name: cfg for name, cfg in stages.items() if cfg is not None})
        self.geometry = _geometry_of(locals())
        if float32 is None:
            float32 = () if pts_backbone is None else ("pts_backbone",)
        keep_float32(self, float32)
        self.register_state_dict_post_hook(_state_geometry)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch: every term by name, and 'loss', their sum. Denoising takes part in training mode only."""
        denoising = None
        if self.training:
            denoising = self.pts_bbox_head.make_denoising(batch.gt_boxes, batch.gt_labels, batch.seeds)
        bev, images = self.extract_bev(batch.points), self.extract_images(batch.images)
        out = self.pts_bbox_head(bev, images, batch.lidar2img, batch.pad_shape, denoising)
        losses = self.pts_bbox_head.loss(out, batch.gt_boxes, batch.gt_labels, batch.working)
        return {**losses, "loss": torch.stack(list(losses.values())).sum()}

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[Detections]:
        """Boxes of a batch, one `Detections` per sample, scores descending.

        Raises:
            NonFiniteError: scores are NaN or infinite, which would pass for a scene without objects.
        """
        bev, images = self.extract_bev(batch.points), self.extract_images(batch.images)
        out = self.pts_bbox_head(bev, images, batch.lidar2img, batch.pad_shape)
        if not all(logits[-1].isfinite().all() for logits in out.cls_logits):
            raise NonFiniteError(
                f"The scores of samples {', '.join(batch.tokens)} are NaN or infinite; look at these samples, or "
                "predict in float32 with other weights."
            )
        decoded = self.pts_bbox_head.decode(out)
        return [Detections(token, *boxes) for token, boxes in zip(batch.tokens, decoded, strict=True)]

    def extract_images(self, images: Tensor) -> Tensor | None:
        """(B, N, 3, H, W) -> (B, N, C, H', W') at stride 16, or None without image branch."""
        if self.img_backbone is None:
            return None
        batch_size, num_cameras = images.shape[:2]
        images = images.flatten(0, 1)  # (B*N, 3, H, W)
        if self.grid_mask is not None:
            images = self.grid_mask(images)
        features = finest(self.img_neck(self.img_backbone(images)))  # (B*N, C, H', W')
        return features.unflatten(0, (batch_size, num_cameras))

    def extract_bev(self, points: list[Tensor]) -> Tensor | None:
        """B x (P_i, 5) -> (B, C, Y, X), or None without LiDAR branch. Samples without points give an empty map."""
        if self.pts_middle_encoder is None:
            return None
        voxels = [self.pts_voxel_layer(p) for p in points]
        coords = batch_coords([v.coords for v in voxels])  # (V, 4)
        features = encode_voxels(self.pts_voxel_encoder, voxels, coords, self.pts_voxel_layer.max_num_points)  # (V, 5)
        check_backward(self.pts_middle_encoder, features)
        bev = finest(self.pts_middle_encoder(features, coords, len(points)))
        return finest(self.pts_neck(self.pts_backbone(bev)))


_IMAGE_BRANCH = ("img_backbone", "img_neck")
_LIDAR_BRANCH = ("pts_voxel_layer", "pts_voxel_encoder", "pts_middle_encoder", "pts_backbone", "pts_neck")


def _check_branches(configs: Mapping[str, Any]) -> None:
    for branch in (_IMAGE_BRANCH, _LIDAR_BRANCH):
        missing = [name for name in branch if configs[name] is None]
        if 0 < len(missing) < len(branch):
            raise ConfigError(f"The model has a {branch[0]} branch without '{missing[0]}'; give all of it or none.")
    if configs["img_backbone"] is None and configs["pts_middle_encoder"] is None:
        raise ConfigError("The model has neither image nor LiDAR branch; configure img_backbone or pts_middle_encoder.")
    if configs["pts_bbox_head"] is None:
        raise ConfigError("The model has no 'pts_bbox_head'; give its config.")


def _state_geometry(model: CmtDetector, state: Mapping[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    """Put the geometry beside the module's version in the state dict's `_metadata`, which `torch.save` keeps."""
    if model.geometry is not None:
        metadata["geometry"] = model.geometry.record()


def _geometry_of(configs: Mapping[str, Any]) -> BevGeometry | None:
    """None for a head of the user's own that says nothing of ranges and voxels in CMT's way."""
    try:
        return BevGeometry.from_config(configs)
    except (KeyError, TypeError, ValueError):
        return None


def _build(cfg: Config | None, default_type: str | None = None, **defaults: Any) -> Any:  # noqa: ANN401 - a duck type
    if cfg is None:
        return None
    return build(cfg if default_type is None else {"type": default_type, **cfg}, MODELS, **defaults)
