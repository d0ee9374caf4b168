"""The constants of a detection benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aqr_eval.nuscenes.classes import CLASS_RANGE_M, DETECTION_CLASSES, MAX_BOXES_PER_SAMPLE
from aqr_eval.nuscenes.errors import AqrError

TP_ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")


@dataclass(frozen=True)
class DetectionConfig:
    """What is scored, how far away, and how numbers are averaged.

    Attributes:
        class_range: class -> metres from the ego vehicle at and beyond which boxes are left out.
        dist_ths: centre distances in metres below which a prediction may match.
        dist_th_tp: the threshold at which true-positive errors are taken.
        min_recall: recall up to which, inclusive, curves are ignored.
        min_precision: precision that counts as nothing.
        max_boxes_per_sample: predictions allowed in one sample.
        mean_ap_weight: weight of mAP in NDS; each of the five errors weighs 1.
        undefined: (class, error) pairs that do not exist, such as the velocity of a barrier.
    """

    class_range: Mapping[str, float] = field(default_factory=lambda: dict(CLASS_RANGE_M))
    dist_ths: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    dist_th_tp: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1
    max_boxes_per_sample: int = MAX_BOXES_PER_SAMPLE
    mean_ap_weight: float = 5.0
    undefined: frozenset[tuple[str, str]] = frozenset(
        {
            ("traffic_cone", "orient_err"),
            ("traffic_cone", "vel_err"),
            ("traffic_cone", "attr_err"),
            ("barrier", "vel_err"),
            ("barrier", "attr_err"),
        }
    )

    def __post_init__(self) -> None:
        if not 0 <= self.min_recall <= 1 or not 0 <= self.min_precision < 1:
            raise AqrError(
                f"min_recall {self.min_recall} and min_precision {self.min_precision} are no shares: give a recall "
                "from 0 to 1 and a precision from 0 to below 1."
            )
        if self.dist_th_tp not in self.dist_ths:
            raise AqrError(f"dist_th_tp {self.dist_th_tp} is none of dist_ths {self.dist_ths}: add it to them.")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The scored classes; each counts whether or not it occurs."""
        return DETECTION_CLASSES


_CONFIGS = {"detection_cvpr_2019": DetectionConfig()}


def detection_config(name: str) -> DetectionConfig:
    """The benchmark constants of a name known to the devkit."""
    if name not in _CONFIGS:
        raise AqrError(f"Unknown evaluation config {name!r}: choose among {', '.join(_CONFIGS)}.")
    return _CONFIGS[name]
