"""The draws of a command: its arguments, and whether scenes can be drawn at all."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.analysis.bootstrap import COVERAGE, DRAWS, draw_scenes
from aqr_eval.cores import available_cores
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.nuscenes.errors import DataError


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn.

    Attributes:
        weights: (draws, scenes) from `draw_scenes`; None for no intervals.
        seed: of the draws.
        workers: processes that share them.
        remark: a sentence for the reader: what the intervals are, or why there are none.
    """

    weights: NDArray[np.int64] | None
    seed: int
    workers: int
    remark: str

    def to_dict(self) -> dict[str, Any] | None:
        """Plain values for JSON; None without intervals."""
        if self.weights is None:
            return None
        draws, scenes = self.weights.shape
        return {"draws": draws, "scenes": scenes, "seed": self.seed, "coverage": COVERAGE}


def add_draw_arguments(parser: argparse.ArgumentParser) -> None:
    """How intervals are taken."""
    group = parser.add_argument_group("intervals", "over scenes drawn with replacement")
    group.add_argument(
        "--draws", type=int, metavar="N", help=f"how many, 0 for no intervals; by default {DRAWS} if scenes are known"
    )
    group.add_argument("--seed", type=int, default=0, help="of the draws; by default 0")
    group.add_argument("--workers", type=int, help="processes that share the draws; by default one per core")


def draw_for(truth: GroundTruth, args: argparse.Namespace) -> Draws:
    """Draws as the arguments of `add_draw_arguments` say; nothing where the default cannot be had.

    Raises:
        DataError: a number of draws is asked for and the truth has no scenes to draw from.
    """
    workers = args.workers or available_cores()
    if args.draws == 0:
        return Draws(None, args.seed, workers, "No intervals: --draws is 0.")
    try:
        weights = draw_scenes(truth, DRAWS if args.draws is None else args.draws, args.seed)
    except DataError as error:
        if args.draws is not None:
            raise
        return Draws(None, args.seed, workers, f"No intervals: {error}")
    draws, scenes = weights.shape
    remark = f"Intervals: {COVERAGE:.0%} of {draws} draws of {scenes} scenes with replacement, seed {args.seed}."
    return Draws(weights, args.seed, workers, remark)
