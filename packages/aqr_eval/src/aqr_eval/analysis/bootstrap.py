"""How far a number would move had other scenes been driven: percentile intervals over resampled scenes.

Boxes of one scene are the same objects seen again, so scenes are drawn, not samples: as many as the split has, with
replacement (Efron and Tibshirani 1993, chapter 13). Submissions that share the draws are compared draw by draw; what
makes some scenes hard for all of them cancels out of the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.analysis.weighted_curves import WeightedCurves
from aqr_eval.cores import map_in_processes
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.matches import Matches
from aqr_eval.metrics import DetectionMetrics, without_nan
from aqr_eval.nuscenes.errors import DataError

DRAWS = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number, between what the tails of the draws leave."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """To another submission; `above` is the share of draws in which it is greater than 0."""

    above: float


@dataclass(frozen=True)
class Intervals:
    """Every number of a submission with its interval.

    Attributes:
        of: "NDS", "mAP", the five mean errors by name ("trans_err", ...), and a class name for its AP.
        scenes: drawn from.
        draws: taken.
        coverage: of each interval, 0.95 for 95 %.
    """

    of: Mapping[str, Interval]
    scenes: int
    draws: int
    coverage: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


@dataclass(frozen=True, eq=False)
class Resampled:
    """The numbers of a submission over the scenes as they are and over every draw.

    Attributes:
        point: quantity -> value over the scenes as they are.
        drawn: quantity -> (draws,).
        scenes: drawn from.
    """

    point: Mapping[str, float]
    drawn: Mapping[str, NDArray[np.float64]]
    scenes: int

    def interval(self, quantity: str, coverage: float = COVERAGE) -> Interval:
        """A number and its percentile interval."""
        return Interval(self.point[quantity], *_tails(self.drawn[quantity], coverage))

    def intervals(self, coverage: float = COVERAGE) -> Intervals:
        """Of every quantity."""
        of = {quantity: self.interval(quantity, coverage) for quantity in self.point}
        return Intervals(of, self.scenes, len(self.drawn["NDS"]), coverage)

    def difference(self, quantity: str, reference: Resampled, coverage: float = COVERAGE) -> Difference:
        """This submission minus another one that saw the same draws."""
        drawn = self.drawn[quantity] - reference.drawn[quantity]
        value = self.point[quantity] - reference.point[quantity]
        return Difference(value, *_tails(drawn, coverage), float(np.mean(drawn > 0)))


def draw_scenes(truth: GroundTruth, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """(draws, scenes) how often each scene is in each draw; the scenes by name, ascending.

    Raises:
        DataError: the truth does not name its scenes, has fewer than two, `draws` is below 1, or `seed` below 0.
    """
    if seed < 0:
        raise DataError(f"{seed} cannot seed the draws: give a whole number from 0.")
    if draws < 1:
        raise DataError(f"{draws} draws give no interval: take at least 1, better {DRAWS}.")
    if not truth.scenes:
        raise DataError(
            f"{truth.name} does not say which scene a sample belongs to, and intervals are taken over scenes: read the "
            "truth from nuScenes tables, or do without intervals."
        )
    scenes = len(set(truth.scenes))
    if scenes < 2:
        raise DataError(
            f"{truth.name} has one scene ({truth.scenes[0]}), and an interval needs several to draw from: take a split "
            "with more scenes, or do without intervals."
        )
    return np.random.default_rng(seed).multinomial(scenes, np.full(scenes, 1 / scenes), size=draws)


def resample(matches: Matches, weights: NDArray[np.int64], *, workers: int = 1) -> Resampled:
    """The numbers over every draw; nothing is matched again.

    Args:
        matches: of a submission.
        weights: (draws, scenes) from `draw_scenes`.
        workers: processes that share the draws; the result does not depend on it.
    """
    _, scene_of_sample = np.unique(np.array(matches.truth.scenes), return_inverse=True)
    curves = WeightedCurves.from_matches(matches, scene_of_sample)
    workers = max(1, min(workers, len(weights)))
    shares = np.array_split(weights, workers)
    drawn = np.concatenate(map_in_processes(_score_draws, [curves] * workers, shares, workers=workers))
    point = headline_numbers(DetectionMetrics.from_matches(matches))
    return Resampled(point, dict(zip(point, drawn.T, strict=True)), weights.shape[1])


def headline_numbers(metrics: DetectionMetrics) -> dict[str, float]:
    """What gets an interval: NDS, mAP, the five mean errors, and the AP of every class by its name."""
    return {"NDS": metrics.nd_score, "mAP": metrics.mean_ap} | metrics.tp_errors | metrics.mean_dist_aps


def bootstrap(matches: Matches, *, draws: int = DRAWS, seed: int = 0, workers: int = 1) -> Intervals:
    """Intervals of every number of one submission.

    Raises:
        DataError: the truth does not name its scenes, or has fewer than two.
    """
    return resample(matches, draw_scenes(matches.truth, draws, seed), workers=workers).intervals()


def _score_draws(curves: WeightedCurves, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Every number over every draw: (draws, quantities)."""
    metrics = (DetectionMetrics.from_curves(curves.curves(weight), curves.config) for weight in weights)
    return np.array([list(headline_numbers(one).values()) for one in metrics])


def _tails(values: NDArray[np.float64], coverage: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)
