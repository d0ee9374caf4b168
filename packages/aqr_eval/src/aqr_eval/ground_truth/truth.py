"""What a split truly holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.nuscenes.errors import DataError


@dataclass(frozen=True, eq=False)
class Cameras:
    """Where the cameras of S samples look.

    Attributes:
        channels: C names such as "CAM_FRONT".
        global2img: (S, C, 4, 4) global metres to pixels times depth; NaN where a sample lacks the camera.
        size: (S, C, 2) width and height, pixels.
    """

    channels: tuple[str, ...]
    global2img: NDArray[np.float64]
    size: NDArray[np.int64]

    def sees(self, points: NDArray[np.float64], sample: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n, 3) global points of the samples (n,) -> (n, C) bool: before the camera and inside its image."""
        seen = np.zeros((len(points), len(self.channels)), dtype=bool)
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        for camera in range(len(self.channels)):  # one at a time: (n, C, 4, 4) would not fit
            u, v, depth = np.einsum("nij,nj->in", self.global2img[sample, camera, :3], homogeneous)
            width, height = self.size[sample, camera].T
            with np.errstate(invalid="ignore"):  # NaN compares as False
                seen[:, camera] = (depth > 0) & (u >= 0) & (u < width * depth) & (v >= 0) & (v < height * depth)
        return seen


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated side of an evaluation.

    Attributes:
        tokens: S sample tokens, in the order of `sample.json`.
        ego_translation: (S, 3) vehicle position at the LiDAR keyframe, global, metres.
        boxes: n annotated boxes of the ten classes; `sample` indexes `tokens`.
        bicycle_racks: racks; bicycles and motorcycles inside one are left out. Their `label` means nothing.
        allows_extra_samples: whether predictions for other samples are ignored, as the devkit does for
            custom splits, instead of refused.
        scenes: S scene names; empty where the source does not say.
        descriptions: scene name -> the annotators' description, e.g. "Night, rain".
        visibility: (n,) level 1 (up to 40 % visible) to 4 (from 80 %), 0 where unknown; None where the source does not
            say.
        cameras: None unless asked for.
        name: what messages call it: the split and its version.
    """

    tokens: tuple[str, ...]
    ego_translation: NDArray[np.float64]
    boxes: Boxes
    bicycle_racks: Boxes
    allows_extra_samples: bool = False
    scenes: tuple[str, ...] = ()
    descriptions: Mapping[str, str] = field(default_factory=dict)
    visibility: NDArray[np.int8] | None = None
    cameras: Cameras | None = None
    name: str = "the ground truth"

    def __post_init__(self) -> None:
        assert len(self.ego_translation) == len(self.tokens) and len(self.scenes) in (0, len(self.tokens))
        assert self.visibility is None or len(self.visibility) == len(self.boxes)

    def of_samples(self, tokens: Sequence[str]) -> GroundTruth:
        """The same truth for some of its samples, in the order given.

        Raises:
            DataError: a token is not among the samples, or is given twice.
        """
        row = {token: index for index, token in enumerate(self.tokens)}
        absent = [token for token in tokens if token not in row]
        if absent:
            raise DataError(
                f"The ground truth has no sample {absent[0]!r} ({len(absent)} of {len(tokens)} are absent): "
                "choose the split or the tables that these samples belong to."
            )
        if len(set(tokens)) < len(tokens):
            twice = next(token for number, token in enumerate(tokens) if token in tokens[:number])
            raise DataError(f"Sample {twice!r} is asked for twice: name each sample once.")
        rows = np.array([row[token] for token in tokens], dtype=np.int64)
        position = np.full(len(self.tokens), -1)
        position[rows] = np.arange(len(rows))
        kept, racks_kept = (position[part.sample] >= 0 for part in (self.boxes, self.bicycle_racks))
        cameras = self.cameras
        return replace(
            self,
            tokens=tuple(tokens),
            ego_translation=self.ego_translation[rows],
            boxes=self.boxes.with_sample(position[self.boxes.sample]).select(kept),
            bicycle_racks=self.bicycle_racks.with_sample(position[self.bicycle_racks.sample]).select(racks_kept),
            scenes=tuple(self.scenes[index] for index in rows) if self.scenes else (),
            visibility=None if self.visibility is None else self.visibility[kept],
            cameras=cameras and Cameras(cameras.channels, cameras.global2img[rows], cameras.size[rows]),
        )

    def subset(
        self, *, scenes: Sequence[str] = (), tokens: Sequence[str] = (), first: int | None = None
    ) -> GroundTruth:
        """The samples that meet every condition given; predictions of other samples are then ignored.

        Args:
            scenes: names; () for all.
            tokens: sample tokens, () for all; they do not change the order.
            first: how many samples to keep from the start.

        Raises:
            DataError: an unknown scene or token, a count below 1, or conditions that no sample meets.
        """
        unknown = [name for name in scenes if name not in self.scenes]
        if unknown:
            raise DataError(
                f"No sample of {self.name} belongs to scene {unknown[0]!r}: choose among "
                f"{_some(dict.fromkeys(self.scenes))}."
            )
        foreign = sorted(set(tokens) - set(self.tokens))
        if foreign:
            raise DataError(
                f"{self.name} has no sample {foreign[0]!r} ({len(foreign)} of {len(tokens)} are absent): choose the "
                "split that these samples belong to."
            )
        if first is not None and first < 1:
            raise DataError(f"The first {first} samples are none: give at least 1.")
        wanted_scenes, wanted = set(scenes), set(tokens)
        kept = [
            token
            for index, token in enumerate(self.tokens)
            if (not wanted_scenes or self.scenes[index] in wanted_scenes) and (not wanted or token in wanted)
        ][:first]
        if not kept:
            raise DataError(f"No sample of {self.name} meets all conditions: drop one of them.")
        return replace(self.of_samples(kept), allows_extra_samples=True)


def _some(names: Mapping[str, object]) -> str:
    shown = [name for name in names if name]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "") if shown else "none: this source names no scenes"
