"""CBGS: keyframes resampled by class (Zhu et al. 2019, arXiv 1908.09492), as mmdet3d does it for CMT."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

logger = logging.getLogger(__name__)


def class_balanced_indices(holds: np.ndarray, classes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """One epoch in which every class lends the same number of keyframes, rare classes by repetition.

    With m_k keyframes that hold class k and K classes, each class draws floor(sum(m_k) / K) of its keyframes with
    replacement; the epoch is all draws, class after class. Upstream divides by zero where a class has no keyframe; here
    it is left out, K counts the others, and a warning names it.

    Args:
        holds: (F, K) bool, keyframe holds a box of the class.
        classes: K names, for the warning.
        rng: of the draws.

    Returns:
        (E,) int64 positions among the F keyframes; empty where no keyframe holds any class.
    """
    assert holds.shape[1] == len(classes), f"{holds.shape[1]} columns for {len(classes)} classes"
    members = {name: np.flatnonzero(column) for name, column in zip(classes, holds.T, strict=True)}
    absent = [name for name, of_class in members.items() if not len(of_class)]
    if absent:
        logger.warning("Class balance leaves out %s: no keyframe to train on holds it.", ", ".join(absent))
    present = [of_class for of_class in members.values() if len(of_class)]
    if not present:
        return np.zeros(0, np.int64)
    share = sum(map(len, present)) // len(present)
    return np.concatenate([rng.choice(of_class, share) for of_class in present])
