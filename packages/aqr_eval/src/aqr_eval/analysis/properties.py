"""What true boxes and predictions are told apart by: distance, speed, points, visibility, scene, camera."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.filters import ego_distance
from aqr_eval.matches import Matches

DISTANCES_M = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
SPEEDS_M_S = (0.0, 0.2, 2.0, 6.0, np.inf)  # 0.2 m/s is where the benchmark's default attribute turns to "moving"
POINTS = (1, 6, 21, 101, np.inf)
VISIBILITIES = {1: "0-40 %", 2: "40-60 %", 3: "60-80 %", 4: "80-100 %"}


@dataclass(frozen=True, eq=False)
class Property:
    """Which boxes belong to which group; a box may belong to none or to several.

    Attributes:
        labels: what the g groups are called, in order.
        gt: (g, G) true boxes of each group.
        predictions: (g, n) predictions, by what they say themselves; None where only annotations have the property.
    """

    labels: tuple[str, ...]
    gt: NDArray[np.bool_]
    predictions: NDArray[np.bool_] | None


def by_class(matches: Matches) -> Property:
    """The ten classes."""
    labels = np.arange(len(matches.config.class_names))[:, None]
    return Property(matches.config.class_names, matches.gt.label == labels, matches.label == labels)


def by_distance(matches: Matches) -> Property:
    """Metres from the vehicle to the centre in the ground plane."""
    gt, predictions = (ego_distance(boxes, matches.truth.ego_translation) for boxes in _sides(matches))
    labels = [f"{low:g}-{high:g} m" for low, high in pairwise(DISTANCES_M)]
    return Property(tuple(labels), _bins(gt, DISTANCES_M), _bins(predictions, DISTANCES_M))


def by_speed(matches: Matches) -> Property:
    """Speed in the ground plane, m/s; a box of unknown speed belongs nowhere."""
    gt, predictions = (np.hypot(*boxes.velocity.T) for boxes in _sides(matches))
    labels = ("< 0.2 m/s", "0.2-2 m/s", "2-6 m/s", ">= 6 m/s")
    return Property(labels, _bins(gt, SPEEDS_M_S), _bins(predictions, SPEEDS_M_S))


def by_points(matches: Matches) -> Property:
    """LiDAR and radar points inside a true box."""
    return Property(("1-5", "6-20", "21-100", "> 100"), _bins(matches.gt.num_pts, POINTS), None)


def by_visibility(matches: Matches) -> Property | None:
    """How much of a true box the six cameras see together, in the annotators' four levels."""
    if matches.truth.visibility is None:
        return None
    level = matches.truth.visibility[matches.gt_rows]
    return Property(tuple(VISIBILITIES.values()), level == np.array(list(VISIBILITIES))[:, None], None)


def by_scene(matches: Matches) -> Property | None:
    """Night, day, rain and dry, by whole words of the scene's description; every scene is in two groups or none."""
    truth = matches.truth
    if not (truth.scenes and truth.descriptions):
        return None
    descriptions = [truth.descriptions.get(scene, "") for scene in truth.scenes]
    told = np.array([bool(text) for text in descriptions])
    night, rain = (np.array([_says(text, word) for text in descriptions]) for word in ("night", "rain"))
    groups = np.stack([night, told & ~night, rain, told & ~rain])
    return Property(("night", "day", "rain", "dry"), groups[:, matches.gt.sample], groups[:, matches.sample])


def by_camera(matches: Matches) -> Property | None:
    """The cameras whose image holds the centre of the box: two where they overlap, none beside the images."""
    cameras = matches.truth.cameras
    if cameras is None:
        return None
    gt, predictions = (cameras.sees(boxes.translation, boxes.sample).T for boxes in _sides(matches))
    return Property(cameras.channels, gt, predictions)


PROPERTIES: dict[str, Callable[[Matches], Property | None]] = {  # None: the source of the truth does not say
    "class": by_class,
    "distance": by_distance,
    "speed": by_speed,
    "points": by_points,
    "visibility": by_visibility,
    "scene": by_scene,
    "camera": by_camera,
}


def _sides(matches: Matches) -> tuple[Boxes, Boxes]:
    return matches.gt, matches.predictions


def _bins(values: NDArray[np.float64] | NDArray[np.int64], edges: Sequence[float]) -> NDArray[np.bool_]:
    """(n,) values -> (bins, n): from one edge, inclusive, to the next; NaN is nowhere."""
    low, high = (np.array(side)[:, None] for side in (edges[:-1], edges[1:]))
    inside: NDArray[np.bool_] = (values >= low) & (values < high)
    return inside


def _says(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None
