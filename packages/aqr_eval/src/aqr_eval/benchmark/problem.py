"""A made-up evaluation of the size of nuScenes val."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aqr_eval.boxes import Boxes
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.submission import Submission

# About what val holds of each class, in the order of the classes.
_SHARE = np.array([0.43, 0.08, 0.013, 0.016, 0.021, 0.15, 0.011, 0.011, 0.19, 0.078])
_SIZE_WLH = (1.9, 4.6, 1.7)
_SAMPLES_PER_SCENE = 40
_SPREAD_M, _FARTHEST_M = 30.0, 60.0
_FOUND = 0.85  # of the true boxes have a prediction near them
_OFF_M = 0.6


def make_problem(
    samples: int, true_per_sample: int, predictions_per_sample: int, seed: int = 0
) -> tuple[GroundTruth, Submission]:
    """True boxes around a moving vehicle, most of them found nearby, the rest of the predictions anywhere.

    Scores are those of a network: float32 values, so that some tie.
    """
    rng = np.random.default_rng(seed)
    ego = np.cumsum(rng.normal(size=(samples, 3)) * (5, 5, 0), axis=0) + (1000, 1000, 0)
    sample = np.repeat(np.arange(samples), true_per_sample)
    count = len(sample)
    distance = np.abs(rng.normal(0, _SPREAD_M, count))
    true = Boxes(
        sample=sample,
        label=_draw_labels(rng, count),
        translation=ego[sample] + _around(rng, distance),
        size_wlh=_draw_sizes(rng, count),
        rotation_wxyz=_draw_headings(rng, count),
        velocity=rng.normal(0, 3, (count, 2)),
        score=np.full(count, -1.0),
        attribute=rng.integers(-1, 8, count),
        num_pts=rng.integers(0, 50, count),
    )
    sample = np.repeat(np.arange(samples), predictions_per_sample)
    count = len(sample)
    label = _draw_labels(rng, count)
    translation = ego[sample] + _around(rng, rng.uniform(0, _FARTHEST_M, count))
    score = rng.uniform(0, 0.3, count)
    size, rotation = _draw_sizes(rng, count), _draw_headings(rng, count)
    source = np.flatnonzero((rng.random(len(true)) < _FOUND) & (_within(true.sample) < predictions_per_sample))
    found = true.sample[source] * predictions_per_sample + _within(true.sample)[source]
    label[found] = true.label[source]
    translation[found] = true.translation[source] + rng.normal(0, _OFF_M, (len(source), 3))
    size[found] = true.size_wlh[source] * np.exp(rng.normal(0, 0.1, (len(source), 3)))
    rotation[found] = true.rotation_wxyz[source]
    score[found] = rng.random(len(source))
    predictions = Boxes(
        sample=sample,
        label=label,
        translation=translation,
        size_wlh=size,
        rotation_wxyz=rotation,
        velocity=rng.normal(0, 3, (count, 2)),
        score=score.astype(np.float32).astype(np.float64),
        attribute=rng.integers(-1, 8, count),
        num_pts=np.full(count, -1),
    )
    tokens = tuple(f"{index:032x}" for index in range(samples))
    scenes = tuple(f"scene-{index // _SAMPLES_PER_SCENE:04d}" for index in range(samples))
    truth = GroundTruth(tokens, ego, true, Boxes.concatenate([]), scenes=scenes, name="a made-up split")
    return truth, Submission(tokens, predictions, {"use_camera": True, "use_lidar": True})


def _draw_labels(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.choice(len(DETECTION_CLASSES), count, p=_SHARE / _SHARE.sum())


def _draw_sizes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return np.exp(rng.normal(0, 0.3, (count, 3))) * _SIZE_WLH


def _draw_headings(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    half = rng.uniform(-np.pi, np.pi, count) / 2
    return np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=1)


def _around(rng: np.random.Generator, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) offsets of these lengths in the ground plane, in any direction."""
    angle = rng.uniform(-np.pi, np.pi, len(distance))
    return np.stack([distance * np.cos(angle), distance * np.sin(angle), rng.normal(size=len(distance))], axis=1)


def _within(sample: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) number of each box within its sample; boxes are sorted by sample."""
    return np.arange(len(sample)) - np.searchsorted(sample, sample)
