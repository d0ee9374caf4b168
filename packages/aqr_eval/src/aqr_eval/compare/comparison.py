"""Several models under several conditions (clean, without a camera, ...), scored against one truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqr_eval.analysis.bootstrap import Difference, Interval, Resampled, headline_numbers, resample
from aqr_eval.config import TP_ERRORS
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.metrics import DetectionMetrics
from aqr_eval.nuscenes.errors import AqrError
from aqr_eval.report.tables import best_of
from aqr_eval.submission import load_submission

CLEAN = "clean"  # the condition of a submission that names none
SUMMARY = ("NDS", "mAP")
DIGITS = 4  # that the tables show; what differs behind them is no winner


@dataclass(frozen=True)
class Score:
    """One number of a model, seen beside the other models under the same condition.

    Attributes:
        value: the number.
        difference: to the first model; None for the first model itself.
        best: whether no other model does better, to `DIGITS`; nobody is best where all are equal.
        interval: of the value; None where no scenes were drawn.
        paired: the difference with its interval, over the same draws for both models; None likewise.
    """

    value: float
    difference: float | None
    best: bool
    interval: Interval | None = None
    paired: Difference | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The metrics of every model under every condition.

    Attributes:
        metrics: condition -> model -> metrics; the same models in the same order under every condition.
        resampled: condition -> model -> the numbers over the same draws of scenes; empty where none were drawn.
    """

    metrics: Mapping[str, Mapping[str, DetectionMetrics]]
    resampled: Mapping[str, Mapping[str, Resampled]] = field(default_factory=dict)

    @property
    def conditions(self) -> tuple[str, ...]:
        """In the order given."""
        return tuple(self.metrics)

    @property
    def models(self) -> tuple[str, ...]:
        """In the order given; the first is the one that the others are measured against."""
        return tuple(next(iter(self.metrics.values())))

    def column(self, condition: str, quantity: str) -> dict[str, Score]:
        """Model -> score under one condition: NDS, mAP, a mean error, or the average precision of a class."""
        values = [_value(metrics, quantity) for metrics in self.metrics[condition].values()]
        best = best_of([round(value, DIGITS) for value in values], higher=quantity not in TP_ERRORS)
        differences = [None, *(value - values[0] for value in values[1:])]
        resampled = self.resampled.get(condition, {})
        reference = self.models[0]
        return {
            model: Score(
                value,
                difference,
                index in best,
                interval=resampled[model].interval(quantity) if resampled else None,
                paired=resampled[model].difference(quantity, resampled[reference]) if resampled and index else None,
            )
            for index, (model, value, difference) in enumerate(zip(self.models, values, differences, strict=True))
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: condition -> model -> the devkit's summary, differences and intervals; no curves."""
        plain: dict[str, Any] = {}
        for condition, metrics in self.metrics.items():
            columns = {quantity: self.column(condition, quantity) for quantity in self.quantities}
            plain[condition] = {}
            for model, one in metrics.items():
                scores = {name: column[model] for name, column in columns.items()}
                plain[condition][model] = _summary(one) | {
                    "difference": {name: scores[name].difference for name in SUMMARY},
                    "intervals": {name: asdict(score.interval) for name, score in scores.items() if score.interval},
                    "paired": {name: asdict(score.paired) for name, score in scores.items() if score.paired},
                }
        return plain

    @property
    def quantities(self) -> tuple[str, ...]:
        """What can be compared: NDS, mAP, the mean errors, and the average precision of every class."""
        first = next(iter(next(iter(self.metrics.values())).values()))
        return (*SUMMARY, *TP_ERRORS, *first.config.class_names)


def compare(
    truth: GroundTruth,
    submissions: Mapping[str, Mapping[str, Path]],
    on_start: Callable[[str, str], None] = lambda condition, model: None,
    *,
    draws: NDArray[np.int64] | None = None,
    workers: int = 1,
) -> Comparison:
    """Scores every submission.

    Args:
        truth: of the split that all of them cover.
        submissions: condition -> model -> results file, complete (see `arrange`).
        on_start: told the condition and the model before each.
        draws: (draws, scenes) from `draw_scenes`, the same for all submissions; None for no intervals.
        workers: processes that share the draws.

    Raises:
        SubmissionError: a results file breaks the format or does not cover the split.
    """
    metrics: dict[str, dict[str, DetectionMetrics]] = {condition: {} for condition in submissions}
    resampled: dict[str, dict[str, Resampled]] = {} if draws is None else {condition: {} for condition in submissions}
    for condition, paths in submissions.items():
        for model, path in paths.items():
            on_start(condition, model)
            matches = find_matches(truth, load_submission(path))
            metrics[condition][model] = DetectionMetrics.from_matches(matches)
            if draws is not None:
                resampled[condition][model] = resample(matches, draws, workers=workers)
    return Comparison(metrics, resampled)


def arrange(named: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """`[CONDITION/]NAME` -> path, sorted into condition -> model -> path, both in the order of their first mention.

    Raises:
        AqrError: an empty or repeated name, or a model that is not given under every condition.
    """
    given: dict[tuple[str, str], Path] = {}
    for word, path in named.items():
        first, slash, rest = word.partition("/")
        condition, model = (first, rest) if slash else (CLEAN, first)
        if not (condition and model):
            raise AqrError(f"{word!r} lacks a condition or a name: write [CONDITION/]NAME=PATH.")
        if (condition, model) in given:
            raise AqrError(f"{model!r} is given twice under {condition!r}: name each submission once.")
        given[condition, model] = path
    conditions = dict.fromkeys(condition for condition, _ in given)
    models = dict.fromkeys(model for _, model in given)
    for model in models:
        for condition in conditions:
            if (condition, model) not in given:
                raise AqrError(
                    f"{model!r} has no submission under {condition!r}, where other models have one: add --submission "
                    f"'{condition}/{model}=PATH' or leave the condition out for all."
                )
    return {condition: {model: given[condition, model] for model in models} for condition in conditions}


def _value(metrics: DetectionMetrics, quantity: str) -> float:
    return headline_numbers(metrics)[quantity]


def _summary(metrics: DetectionMetrics) -> dict[str, Any]:
    plain = metrics.to_dict()
    return {key: plain[key] for key in ("nd_score", "mean_ap", "tp_errors", "mean_dist_aps")}
