"""Resampled scenes: equal to an evaluation of the scenes copied, and intervals that mean what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_eval import DetectionMetrics, Submission, evaluate
from aqr_eval.analysis import bootstrap
from aqr_eval.analysis.bootstrap import Resampled, draw_scenes, resample
from aqr_eval.boxes import Boxes
from aqr_eval.evaluation import find_matches
from aqr_eval.ground_truth import GroundTruth
from aqr_eval.nuscenes.errors import DataError


def copied(truth: GroundTruth, submission: Submission, weight: list[int]) -> tuple[GroundTruth, Submission]:
    """The scenes written out as often as they count."""
    scenes = sorted(set(truth.scenes))
    times = [weight[scenes.index(scene)] for scene in truth.scenes]
    samples = np.repeat(np.arange(len(times)), times)  # old sample of each new one

    def copy(boxes: Boxes) -> tuple[Boxes, np.ndarray]:
        rows = [np.flatnonzero(boxes.sample == sample) for sample in samples]
        new = np.repeat(np.arange(len(samples)), [len(one) for one in rows])
        flat = np.concatenate([np.zeros(0, np.int64), *rows])
        return boxes.select(flat).with_sample(new), flat

    tokens = tuple(f"c{number}" for number in range(len(samples)))
    gt, rows = copy(truth.boxes)
    return (
        replace(
            truth,
            tokens=tokens,
            ego_translation=truth.ego_translation[samples],
            boxes=gt,
            scenes=tuple(truth.scenes[sample] for sample in samples),
            visibility=truth.visibility[rows],
        ),
        Submission(tokens, copy(submission.boxes)[0], {}),
    )


def numbers(metrics: DetectionMetrics) -> dict[str, float]:
    return {"NDS": metrics.nd_score, "mAP": metrics.mean_ap, **metrics.tp_errors, **metrics.mean_dist_aps}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=4).filter(any), st.integers(1, 60), st.sampled_from([0, -0.5]))
def test_weights_are_copies_of_scenes(crowd, weight: list[int], kept: int, shift: float) -> None:
    truth, submission = crowd
    few = submission.boxes.select(np.arange(len(submission.boxes)) % 60 < kept)  # classes of few and of no matches too
    submission = replace(submission, boxes=replace(few, score=few.score + shift))
    drawn = resample(find_matches(truth, submission), np.array([weight])).drawn
    expected = numbers(evaluate(*copied(truth, submission, weight)))
    assert {name: values[0] for name, values in drawn.items()} == pytest.approx(expected, abs=1e-9)


def test_a_class_without_any_attribute_or_a_single_match_is_copied_too(crowd) -> None:
    truth, submission = crowd
    rows = np.arange(len(submission.boxes)) < 40
    truth = replace(truth, boxes=replace(truth.boxes, attribute=np.full(len(truth.boxes), -1)))
    submission = replace(submission, boxes=submission.boxes.select(rows))
    for weight in ([3, 0, 0, 1], [1, 1, 1, 1], [0, 4, 0, 0]):
        drawn = resample(find_matches(truth, submission), np.array([weight])).drawn
        expected = numbers(evaluate(*copied(truth, submission, weight)))
        assert {name: values[0] for name, values in drawn.items()} == pytest.approx(expected, abs=1e-9)


def test_every_scene_once_is_the_metric_itself_with_equal_scores_too(crowd) -> None:
    truth, submission = crowd
    ties = replace(submission.boxes, score=np.round(submission.boxes.score, 1))
    matches = find_matches(truth, replace(submission, boxes=ties))
    resampled = resample(matches, np.ones((1, 4), dtype=np.int64))
    assert resampled.point == numbers(DetectionMetrics.from_matches(matches))
    assert {name: values[0] for name, values in resampled.drawn.items()} == pytest.approx(resampled.point, abs=1e-12)


def test_draws_are_repeatable_and_workers_change_nothing(crowd) -> None:
    truth, submission = crowd
    matches = find_matches(truth, submission)
    weights = draw_scenes(truth, 12, seed=5)
    assert weights.shape == (12, 4) and (weights.sum(axis=1) == 4).all()
    np.testing.assert_array_equal(weights, draw_scenes(truth, 12, seed=5))
    assert (weights != draw_scenes(truth, 12, seed=6)).any()
    alone, shared = (resample(matches, weights, workers=workers) for workers in (1, 2))
    for name, values in alone.drawn.items():
        np.testing.assert_array_equal(values, shared.drawn[name])


def test_intervals_hold_the_tails_of_the_draws() -> None:
    resampled = Resampled({"NDS": 0.5}, {"NDS": np.arange(101) / 100}, scenes=7)
    intervals = resampled.intervals()
    assert (intervals.scenes, intervals.draws, intervals.coverage) == (7, 101, 0.95)
    assert (intervals.of["NDS"].low, intervals.of["NDS"].high) == pytest.approx((0.025, 0.975))
    assert intervals.to_dict()["of"]["NDS"] == pytest.approx({"value": 0.5, "low": 0.025, "high": 0.975})


def test_differences_are_taken_draw_by_draw() -> None:
    hard = np.array([0.1, 0.9, 0.3, 0.7])
    reference = Resampled({"NDS": 0.5}, {"NDS": hard}, scenes=2)
    better = Resampled({"NDS": 0.6}, {"NDS": hard + np.array([0.1, 0.1, 0.1, -0.1])}, scenes=2)
    difference = better.difference("NDS", reference)
    assert difference.value == pytest.approx(0.1) and difference.above == 0.75
    # Whatever makes a draw hard cancels; the 2.5 % quantile lies between the two lowest of four.
    assert (difference.low, difference.high) == pytest.approx((-0.1 + 0.2 * 0.075, 0.1))
    assert reference.difference("NDS", reference).above == 0


def test_an_interval_spans_easy_and_hard_scenes(make_matches) -> None:
    # Scene s0 finds its ten cars, s1 none of its ten: AP of cars is 1, 0 or that of a recall of one half.
    true = {"x": [*range(-20, 20, 4)] * 2, "sample": [0] * 10 + [1] * 10}
    predicted = {"x": [*range(-20, 20, 4)], "detection_score": [0.5 + x / 100 for x in range(10)]}
    matches = make_matches(true, predicted, ("a", "b"), scenes=("s0", "s1"))
    intervals = bootstrap(matches, draws=200)
    assert intervals.of["car"].value == pytest.approx(40 / 90)  # the recalls 0.11 to 0.50
    assert (intervals.of["car"].low, intervals.of["car"].high) == pytest.approx((0, 1))


def test_what_cannot_be_drawn_is_said(crowd) -> None:
    truth, _ = crowd
    with pytest.raises(DataError, match="val does not say which scene a sample belongs to"):
        draw_scenes(replace(truth, scenes=(), name="val"))
    with pytest.raises(DataError, match=r"val has one scene \(s\), and an interval needs several"):
        draw_scenes(replace(truth, scenes=("s",) * 12, name="val"))
    with pytest.raises(DataError, match="0 draws give no interval"):
        draw_scenes(truth, 0)
    with pytest.raises(DataError, match="-1 cannot seed the draws"):
        draw_scenes(truth, seed=-1)
