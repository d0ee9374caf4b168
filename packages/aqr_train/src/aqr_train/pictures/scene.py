"""One keyframe as AQR sees it: everything that a picture of its weights is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aqr_core.data.transforms import NormalizeMultiviewImage
from aqr_core.models.aqr import AqrOutput
from aqr_core.structures import Batch
from aqr_eval.nuscenes.classes import CAMERAS
from aqr_train.pictures.windows import MapGrid, WindowRectangle, window_rectangles
from aqr_train.routing.matching import best_boxes

Array = NDArray[np.float64]
SCORE_SHOWN = 0.3  # queries that score less found nothing worth drawing


@dataclass(frozen=True)
class ScenePixels:
    """What turns the images of a batch back into photographs, and what they are called.

    Attributes:
        mean, std: (3,) BGR, of the normalisation.
        cameras: names in the order of the images.
    """

    mean: Array
    std: Array
    cameras: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Any) -> ScenePixels:  # noqa: ANN401 - NuScenesDataset, or what a user registers
        """As the pipeline of a dataset has it; without `NormalizeMultiviewImage` pixels are taken as they are.

        A dataset of a user's own may have neither pipeline nor infos; its cameras are called as nuScenes calls them.
        """
        pipeline = getattr(dataset, "pipeline", ())
        steps = [step for step in pipeline if isinstance(step, NormalizeMultiviewImage)]
        mean, std = (steps[-1].mean, steps[-1].std) if steps else (np.zeros(3), np.ones(3))
        cameras = tuple(dataset.infos.header.cameras) if hasattr(dataset, "infos") else CAMERAS
        return cls(np.asarray(mean, np.float64), np.asarray(std, np.float64), cameras)

    def restore(self, images: Tensor) -> NDArray[np.uint8]:
        """(N, 3, H, W) normalised BGR -> (N, H, W, 3) RGB."""
        pixels = images.float().cpu().numpy().transpose(0, 2, 3, 1) * self.std + self.mean
        return np.asarray(pixels.round().clip(0, 255)[..., ::-1], np.uint8)


@dataclass(frozen=True, eq=False)
class RoutedScene:
    """One sample and what the detector made of it; LiDAR frame, metres.

    Attributes:
        token: nuScenes sample token.
        points: (P, 3).
        images: (N, H, W, 3) RGB.
        cameras: N names.
        lidar2img: (N, 4, 4).
        true_boxes: (n, 9), the convention of `boxes3d`.
        boxes: (Q, 9) box of every query.
        scores: (Q,) of its best class.
        labels: (Q,) that class.
        class_names: what labels count.
        aqr: weights and cells of this sample alone (B = 1).
        neutral: the weight that changes nothing: 0 in v3, 1 in v1 and v2.
        edges: (camera, lidar) edge of the windows drawn, in cells.
        views: which cameras have a window.
        biased: the windows are those of the attention bias; else those that the weight generator reads.
        bev_grid, image_grid: the two maps; None for an absent modality.
    """

    token: str
    points: Array
    images: NDArray[np.uint8]
    cameras: tuple[str, ...]
    lidar2img: Array
    true_boxes: Array
    boxes: Array
    scores: Array
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    aqr: AqrOutput
    neutral: float
    edges: tuple[int, int]
    views: str
    biased: bool
    bev_grid: MapGrid | None
    image_grid: MapGrid | None

    @property
    def weights(self) -> Array:
        """(Q, 2) LiDAR and camera weight."""
        return _array(self.aqr.weights[0])

    def write_weights(self, query: int) -> tuple[str, str]:
        """LiDAR and camera weight of a query in words; a sign where neutral is 0."""
        sign = "+" if self.neutral == 0 else ""
        lidar, camera = (f"{weight:{sign}.2f}" for weight in self.weights[query])
        return lidar, camera

    def windows(self, query: int) -> list[WindowRectangle]:
        """Of one query, as far as they lie on the maps."""
        return window_rectangles(self.aqr.cells, query, self.edges, self.views)

    def best_queries(self, count: int) -> list[int]:
        """Numbers of the queries with the highest scores, best first."""
        return [int(query) for query in np.argsort(-self.scores, kind="stable")[:count]]


def has_weights(model: nn.Module) -> bool:
    """Whether the model is a detector with one of the AQR variants."""
    return getattr(getattr(model, "pts_bbox_head", None), "aqr", None) is not None


@torch.no_grad()
def look(
    model: Any,  # noqa: ANN401 - the detector by its children, as everywhere in this package
    batch: Batch,
    pixels: ScenePixels,
    *,
    true_boxes: Array | None = None,
) -> RoutedScene:
    """Detect in the first sample of a batch and keep what AQR did.

    Args:
        model: a detector with AQR (`has_weights`), in eval mode.
        batch: on the model's device.
        pixels: of the dataset.
        true_boxes: (n, 9), where the batch has none, as in a test set.
    """
    assert not model.training, "a forward pass in train mode would draw random numbers and move batch-norm statistics"
    head = model.pts_bbox_head
    batch = _first(batch)
    bev, images = model.extract_bev(batch.points), model.extract_images(batch.images)
    out = head(bev, images, batch.lidar2img, batch.pad_shape)
    scores, labels, boxes = (part[0] for part in best_boxes(head, out))
    aqr: AqrOutput = out.aqr
    generator, bias = head.aqr_weight_generator, head.attention_bias_generator
    biased = bias is not None and bias.use_local_bias
    shapes = aqr.cells.shapes
    bev_grid = image_grid = None
    if shapes.bev is not None:
        cell_x, cell_y = head.bev_cells.edge_m(shapes.bev)
        bev_grid = MapGrid(head.pc_range[0], head.pc_range[1], cell_x, cell_y, *shapes.bev)
    if shapes.image is not None:
        (height, width), (_, rows, cols) = batch.pad_shape, shapes.image
        image_grid = MapGrid(0.0, 0.0, width / cols, height / rows, rows, cols)
    return RoutedScene(
        token=batch.tokens[0],
        points=_array(batch.points[0][:, :3]),
        images=pixels.restore(batch.images[0]),
        cameras=pixels.cameras,
        lidar2img=_array(batch.lidar2img[0]),
        true_boxes=_array(batch.gt_boxes[0]) if true_boxes is None else true_boxes,
        boxes=_array(boxes),
        scores=_array(scores),
        labels=labels.cpu().numpy(),
        class_names=head.class_names or tuple(f"class {i}" for i in range(sum(head.classes_per_task))),
        aqr=aqr,
        neutral=generator.weight_range[1],
        edges=bias.window_size if biased else generator.window_sizes,
        views=(bias if biased else generator).views,
        biased=biased,
        bev_grid=bev_grid,
        image_grid=image_grid,
    )


def _first(batch: Batch) -> Batch:
    """A batch of its first sample alone."""
    one = slice(1)
    return Batch(
        tokens=batch.tokens[one],
        points=batch.points[one],
        images=batch.images[one],
        lidar2img=batch.lidar2img[one],
        gt_boxes=batch.gt_boxes[one],
        gt_labels=batch.gt_labels[one],
        seeds=batch.seeds[one],
        working=batch.working.expand(len(batch), -1)[one],
    )


def _array(values: Tensor) -> Array:
    return values.double().cpu().numpy()
