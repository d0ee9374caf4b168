"""What the sides of the AQR benchmark look at: a synthetic keyframe, objects in it, and where the queries fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.models.aqr import MapShapes, QueryCells
from aqr_core.structures import Batch
from aqr_train.benchmarks.aqr_sides import build_side, shipped_config
from aqr_train.benchmarks.model_input import synthetic_sample

_SIZES_M = ((4.6, 1.9, 1.7), (0.7, 0.7, 1.8), (0.4, 0.4, 1.1), (1.7, 0.6, 1.3), (6.9, 2.5, 2.9))
_LABELS = (0, 8, 9, 7, 1)  # car, pedestrian, traffic cone, bicycle, truck


@dataclass(frozen=True)
class Scene:
    """A batch of one, and where the queries of the baseline fall in it.

    Attributes:
        batch: on the device.
        origin: a sentence that says what it is.
        cells: of the denoising slots, then of the queries.
        slots: number of slots.
        heads: of the cross-attention.
        channels: C of the tokens.
    """

    batch: Batch
    origin: str
    cells: QueryCells
    slots: int
    heads: int
    channels: int

    @property
    def device(self) -> torch.device:
        """Where the batch is."""
        return self.batch.images.device

    @property
    def on_cpu(self) -> bool:
        """Whether that is the CPU."""
        return self.device.type == "cpu"

    @property
    def own_cells(self) -> QueryCells:
        """Of the queries alone."""
        return self.cells.select(slice(self.slots, None))

    def describe_queries(self) -> str:
        """Queries, tokens, and how many windows a query has."""
        views, on_map = self.cells.visible.sum(dim=-1), self.cells.in_bev.float().mean()
        share = ", ".join(f"{100 * (views == n).float().mean():.0f} % by {n}" for n in range(int(views.max()) + 1))
        return (
            f"{views.numel() - self.slots}, and {self.slots} denoising slots, over {self.cells.shapes.num_tokens} "
            f"tokens; {100 * on_map:.0f} % lie on the BEV map, seen {share} cameras: "
            f"{on_map + views.float().mean():.2f} windows each"
        )


def open_scene(config_name: str, boxes: int, device: torch.device) -> Scene:
    """A synthetic keyframe through the baseline's `data.val`, with seeded boxes instead of its own.

    Raises:
        ConfigError: a config that has no AQR siblings.
    """
    config, sibling = load_config(config_name), shipped_config(config_name, "v3")
    sample, origin = synthetic_sample(config, training=False)
    head = build_side(config, device)[0].pts_bbox_head
    gt_boxes, gt_labels = seeded_boxes(boxes, head.pc_range)
    batch = collate([replace(sample, gt_boxes=gt_boxes, gt_labels=gt_labels)]).to(device)
    images = " x ".join(map(str, sample.images.shape))
    aqr = sibling["model"]["pts_bbox_head"]["aqr_config"]
    shapes = MapShapes(tuple(aqr["bev_feature_shape"]), tuple(aqr["pers_feature_shape"]))
    denoising = head.make_denoising(batch.gt_boxes, batch.gt_labels, batch.seeds)
    with torch.no_grad():
        cells = head.locate(head.references(1, denoising), batch.lidar2img, shapes, batch.pad_shape)
    return Scene(
        batch,
        f"{origin}; {len(sample.points)} points, images {images}, {boxes} seeded boxes",
        cells,
        denoising.num_slots,
        head.transformer.decoder.layers[0].attentions[1].attn.num_heads,
        head.hidden_dim,
    )


class Features(NamedTuple):
    """Outputs of the backbones, (1, C, Y, X) and (1, N, C, H, W): leaves that take gradients."""

    bev: Tensor
    images: Tensor


def seeded_boxes(count: int, pc_range: Sequence[float]) -> tuple[Tensor, Tensor]:
    """(count, 9) boxes of five classes all over the range but its border, and (count,) labels."""
    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor(pc_range).view(2, 3)
    centre = 0.9 * (torch.rand(count, 3, generator=generator) - 0.5)
    centre[:, 2] *= 0.1
    kind = torch.randint(len(_SIZES_M), (count,), generator=generator)
    yaw = (2 * torch.rand(count, 1, generator=generator) - 1) * torch.pi
    velocity = torch.randn(count, 2, generator=generator)
    place = (low + high) / 2 + centre * (high - low)
    return torch.cat([place, torch.tensor(_SIZES_M)[kind], yaw, velocity], dim=1), torch.tensor(_LABELS)[kind]


@torch.no_grad()
def extract(detector: Any, batch: Batch) -> Features:  # noqa: ANN401 - a CMT detector
    """What its backbones make of the batch."""
    bev, images = detector.extract_bev(batch.points), detector.extract_images(batch.images)
    return Features(bev.detach().requires_grad_(), images.detach().requires_grad_())
