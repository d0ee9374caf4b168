"""Objects of other scenes join this one, in the point cloud and in the images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.data.database import ObjectDatabase
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.image_paste import paste_objects
from aqr_core.data.transforms.object_sampler import ObjectSampler, SamplingRecipe
from aqr_core.data.transforms.point_rows import pick_points
from aqr_core.errors import ConfigError, DataError
from aqr_core.registry import TRANSFORMS
from aqr_core.structures.boxes3d import VX
from aqr_core.structures.overlap import points_in_any_box


@TRANSFORMS.register_module()
class UnifiedObjectSample:
    """Copies objects of a database to the place where they were seen, with their points and their pixels.

    Points of the scene inside a copied box give way to the object's own. In every camera that has the whole box before
    it, the object's crop is stretched to the rectangle around the box, cut at the border of the image, and mixed in.
    Upstream also means to mix the annotated objects in again, by depth; its saved crops are views of the image, so
    with mixup this changes nothing, and it is left out here.

    Into blank points or images nothing is copied; the boxes join all the same.

    Goes before the transforms that move the scene or the images. `until_epoch=15` beside the arguments leaves it out
    of the last five epochs of twenty.

    Args:
        db_sampler: arguments of `SamplingRecipe`.
        sample_2d: paste into the images too.
        mixup_rate: share of the crop in the mixture; 1 covers what was there.
        zero_unknown_velocity: as in `LoadAnnotations3D`.

    Raises:
        ConfigError: an unknown key of `db_sampler`, or a value out of range.
    """

    def __init__(
        self,
        db_sampler: Mapping[str, Any],
        sample_2d: bool = True,
        mixup_rate: float = 0.5,
        zero_unknown_velocity: bool = False,
    ) -> None:
        if not 0 < mixup_rate <= 1:
            raise ConfigError(
                f"{type(self).__name__}: mixup_rate is {mixup_rate}; give a share above 0 and up to 1, where 1 covers "
                "what was there."
            )
        self.recipe = SamplingRecipe.from_config(db_sampler)
        self.sample_2d = sample_2d
        self.mixup_rate = mixup_rate
        self.zero_unknown_velocity = zero_unknown_velocity
        self.sampler: ObjectSampler | None = None

    def open_files(self, dataroot: Path, classes: tuple[str, ...], split: str) -> None:
        """Open the database; the dataset does so when it is built.

        Raises:
            ConfigError: a class of the sampler is not one of the dataset's.
            DataError: no database, one without images where they are to be pasted, or one without a usable object.
        """
        name = type(self).__name__
        path = Path(dataroot) / self.recipe.database.format(split=split)
        if not path.exists():
            raise DataError(
                f"{name} finds no object database at {path}; build it with `aqr prepare --gt-database`, or "
                "set until_epoch=0 of this step to train without."
            )
        database = ObjectDatabase.open(path, dataroot=dataroot)
        if self.sample_2d and not database.has_images:
            raise DataError(
                f"The object database {path} holds points but no image crops, which {name} pastes; rebuild it with "
                "`aqr prepare --gt-database`, or use ObjectSample (the same as sample_2d=False), which pastes points "
                "only."
            )
        self.sampler = ObjectSampler(self.recipe, database, classes)

    def __call__(self, frame: Frame) -> None:
        """Extends `points`, `gt_boxes` and `gt_labels`; writes into `images`.

        Raises:
            ConfigError: no database is open, or the images are no longer uint8.
        """
        if self.sampler is None:
            raise ConfigError(
                f"{type(self).__name__} has no open database; let NuScenesDataset build the pipeline, or call "
                "open_files(dataroot, classes, split) first."
            )
        assert frame.classes == self.sampler.classes, "the dataset opens the transform with its own classes"
        objects, labels = self.sampler.draw(frame.gt_boxes, frame.gt_labels, frame.rng)
        if not len(objects):
            return
        database = self.sampler.database
        boxes = database.boxes[objects]
        if self.zero_unknown_velocity:
            boxes[:, VX:] = np.nan_to_num(boxes[:, VX:], nan=0.0)
        if "points" not in frame.blank:
            frame.points = _replace_points(frame.points, boxes, [database.points(i) for i in objects.tolist()])
        frame.gt_boxes = np.concatenate([frame.gt_boxes, boxes])
        frame.gt_labels = np.concatenate([frame.gt_labels, labels])
        if self.sample_2d and len(frame.images) and "image" not in frame.blank:
            crop_of = cache(lambda i: database.image(int(objects[i])))  # an object may show in two cameras
            paste_objects(frame.images, frame.lidar2img, boxes, crop_of, self.mixup_rate)


@TRANSFORMS.register_module()
class ObjectSample(UnifiedObjectSample):
    """`UnifiedObjectSample` in the point cloud alone; reads databases without images too.

    Args:
        db_sampler: arguments of `SamplingRecipe`.
        zero_unknown_velocity: as in `LoadAnnotations3D`.
    """

    def __init__(self, db_sampler: Mapping[str, Any], zero_unknown_velocity: bool = False) -> None:
        super().__init__(db_sampler, sample_2d=False, zero_unknown_velocity=zero_unknown_velocity)


def _replace_points(points: np.ndarray, boxes: np.ndarray, clouds: list[np.ndarray]) -> np.ndarray:
    """(P, 5) scene and n clouds about the centres of (n, 9) boxes -> the scene outside the boxes, then the clouds."""
    for box, cloud in zip(boxes, clouds, strict=True):
        cloud[:, :3] += box[:3].astype(np.float32)
    return np.concatenate([pick_points(points, ~points_in_any_box(points, boxes)), *clouds])
