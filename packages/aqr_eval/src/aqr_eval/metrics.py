"""The numbers of a detection evaluation, with the devkit's names and nesting."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from aqr_eval.config import TP_ERRORS, DetectionConfig
from aqr_eval.curves import Curve, average_precision, mean_error
from aqr_eval.matches import Matches
from aqr_eval.whole_files import write_text


@dataclass(frozen=True, eq=False)
class DetectionMetrics:
    """Average precision, true-positive errors and their summary, the nuScenes detection score.

    Attributes:
        config: the constants behind the numbers.
        curves: (class, threshold in metres) -> curve.
        label_aps: class -> threshold -> average precision.
        label_tp_errors: class -> error name -> mean error; NaN where the benchmark defines none.
    """

    config: DetectionConfig
    curves: Mapping[tuple[str, float], Curve]
    label_aps: Mapping[str, Mapping[float, float]]
    label_tp_errors: Mapping[str, Mapping[str, float]]

    @classmethod
    def from_matches(cls, matches: Matches) -> DetectionMetrics:
        """The numbers over all boxes that count."""
        return cls.from_curves(matches.curves(), matches.config)

    @classmethod
    def from_curves(cls, curves: Mapping[tuple[str, float], Curve], config: DetectionConfig) -> DetectionMetrics:
        """Takes all numbers from the curves, one per class and threshold."""
        return cls(
            config=config,
            curves=curves,
            label_aps={
                name: {
                    threshold: average_precision(curves[name, threshold], config.min_recall, config.min_precision)
                    for threshold in config.dist_ths
                }
                for name in config.class_names
            },
            label_tp_errors={
                name: {
                    error: math.nan
                    if (name, error) in config.undefined
                    else mean_error(curves[name, config.dist_th_tp], error, config.min_recall)
                    for error in TP_ERRORS
                }
                for name in config.class_names
            },
        )

    @property
    def mean_dist_aps(self) -> dict[str, float]:
        """Class -> average precision, averaged over the thresholds."""
        return {name: float(np.mean(list(aps.values()))) for name, aps in self.label_aps.items()}

    @property
    def mean_ap(self) -> float:
        """mAP: the mean over all classes, present or not."""
        return float(np.mean(list(self.mean_dist_aps.values())))

    @property
    def present_classes(self) -> tuple[str, ...]:
        """Classes with at least one true box that counts."""
        return tuple(name for name in self.config.class_names if self.curves[name, self.config.dist_th_tp].num_gt)

    @property
    def mean_ap_present(self) -> float:
        """The mean over `present_classes`, 0 without any: says more than mAP where data hold a few classes only."""
        aps = self.mean_dist_aps
        return float(np.mean([aps[name] for name in self.present_classes] or [0.0]))

    @property
    def tp_errors(self) -> dict[str, float]:
        """Error name -> mean over the classes that have it (mATE, mASE, mAOE, mAVE, mAAE)."""
        return {
            error: float(np.nanmean([errors[error] for errors in self.label_tp_errors.values()])) for error in TP_ERRORS
        }

    @property
    def tp_scores(self) -> dict[str, float]:
        """Error name -> 1 - error, at least 0."""
        return {error: max(0.0, 1.0 - value) for error, value in self.tp_errors.items()}

    @property
    def nd_score(self) -> float:
        """NDS: mAP and the five scores, weighted 5 : 1 : 1 : 1 : 1 : 1."""
        weight = self.config.mean_ap_weight
        scores = self.tp_scores
        return (weight * self.mean_ap + sum(scores.values())) / (weight + len(scores))

    def to_dict(self) -> dict[str, Any]:
        """The devkit's summary plus the curves, as plain values; NaN becomes None."""
        config = asdict(self.config)
        config["undefined"] = sorted(config["undefined"])
        plain: dict[str, Any] = without_nan(
            {
                "label_aps": self.label_aps,
                "mean_dist_aps": self.mean_dist_aps,
                "mean_ap": self.mean_ap,
                "label_tp_errors": self.label_tp_errors,
                "tp_errors": self.tp_errors,
                "tp_scores": self.tp_scores,
                "nd_score": self.nd_score,
                "cfg": config,
                "curves": {
                    f"{name}:{threshold}": {field.name: getattr(curve, field.name) for field in fields(curve)}
                    for (name, threshold), curve in self.curves.items()
                },
            }
        )
        return plain

    def to_json(self, path: str | Path) -> Path:
        """Writes `to_dict` as strict JSON; an interrupted run leaves no partial file."""
        return write_json(path, self.to_dict())


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """Writes strict JSON; an interrupted run leaves no partial file."""
    return write_text(path, json.dumps(content, allow_nan=False) + "\n")


def without_nan(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """The same nested values with text as keys, lists for arrays and tuples, and None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return without_nan(value.tolist())
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
