"""What flows between data, model and evaluation. Letters: B batch, N cameras, P points, n boxes, K detections."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One keyframe after all transforms.

    Attributes:
        token: nuScenes sample token.
        points: (P, 5) float32 x, y, z [m, LiDAR frame], intensity [0, 255], age [s, >= 0].
        images: (N, 3, H, W) float32, BGR, normalised and padded.
        lidar2img: (N, 4, 4) float64, after every augmentation, for pixels of `images`.
        gt_boxes: (n, 9) float32, the convention of `boxes3d`; velocity NaN where unknown.
        gt_labels: (n,) int64 in [0, 10).
        seed: the sample's own random seed; the model draws its denoising noise from it, so that a
            sample trains the same on one rank or eight.
        working: (2,) bool, LiDAR and cameras: False for a sensor that was blanked, as if it had failed.
        faults: what simulated failures did to this keyframe, such as 'BeamReduction/points_kept'; empty without any.
    """

    token: str
    points: Tensor
    images: Tensor
    lidar2img: Tensor
    gt_boxes: Tensor
    gt_labels: Tensor
    seed: int = 0
    working: Tensor = field(default_factory=lambda: torch.ones(2, dtype=torch.bool))
    faults: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """B samples; what a batch can stack is stacked, the rest are lists of length B."""

    tokens: list[str]
    points: list[Tensor]  # B x (P_i, 5)
    images: Tensor  # (B, N, 3, H, W)
    lidar2img: Tensor  # (B, N, 4, 4) float64
    gt_boxes: list[Tensor]  # B x (n_i, 9)
    gt_labels: list[Tensor]  # B x (n_i,)
    seeds: list[int]
    # (B, 2) bool, LiDAR and cameras; the default speaks for all samples
    working: Tensor = field(default_factory=lambda: torch.ones(1, 2, dtype=torch.bool))
    faults: list[dict[str, float]] = field(default_factory=list)  # B reports; empty where nobody asked for any

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def pad_shape(self) -> tuple[int, int]:
        """(height, width) of the padded images in px."""
        return self.images.shape[-2], self.images.shape[-1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        return replace(
            self,
            points=[move(p) for p in self.points],
            images=move(self.images),
            lidar2img=move(self.lidar2img),
            gt_boxes=[move(b) for b in self.gt_boxes],
            gt_labels=[move(label) for label in self.gt_labels],
            working=move(self.working),
        )

    def pin_memory(self) -> Batch:
        """Called by the DataLoader when `pin_memory=True`."""
        return replace(
            self,
            points=[p.pin_memory() for p in self.points],
            images=self.images.pin_memory(),
            lidar2img=self.lidar2img.pin_memory(),
            gt_boxes=[b.pin_memory() for b in self.gt_boxes],
            gt_labels=[label.pin_memory() for label in self.gt_labels],
            working=self.working.pin_memory(),
        )


@dataclass(frozen=True)
class Detections:
    """What the detector found in one sample.

    Attributes:
        token: nuScenes sample token.
        boxes: (K, 9) float32, LiDAR frame, the convention of `boxes3d`.
        scores: (K,) float32 in [0, 1], descending.
        labels: (K,) int64 in [0, 10).
    """

    token: str
    boxes: Tensor
    scores: Tensor
    labels: Tensor
