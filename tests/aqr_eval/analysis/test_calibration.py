from __future__ import annotations

import json
import math

import numpy as np
import pytest

from aqr_eval.analysis import calibrate
from aqr_eval.nuscenes.errors import SubmissionError


def test_bins_hold_what_scores_alike(make_matches) -> None:
    # Scores of 0.95, 1 and 0.9 fall into the last bin, two of them right; 0.25 into the third, wrong.
    true = {"x": [0, 10]}
    predicted = {"x": [0, 10, 20, 30], "detection_score": [0.95, 1.0, 0.9, 0.25]}
    calibration = calibrate(make_matches(true, predicted))
    third, last = calibration.total.bins[2], calibration.total.bins[9]
    assert (last.low, last.high, last.count) == (0.9, 1.0, 3)
    assert (last.mean_score, last.precision) == pytest.approx((0.95, 2 / 3))
    assert (third.count, third.mean_score, third.precision) == (1, 0.25, 0)
    assert calibration.total.ece == pytest.approx((3 * (0.95 - 2 / 3) + 1 * 0.25) / 4)
    assert calibration.classes["car"].bins[9] == last and calibration.classes["car"].ece == calibration.total.ece
    assert calibration.classes["bus"].bins[0].count == 0 and math.isnan(calibration.classes["bus"].ece)
    plain = json.loads(json.dumps(calibration.to_dict(), allow_nan=False))
    assert plain["total"]["bins"][0]["precision"] is None and plain["classes"]["bus"]["ece"] is None


def test_honest_scores_have_no_error(make_matches) -> None:
    rng = np.random.default_rng(0)
    place = np.linspace(-45, 45, 2000)
    score = rng.uniform(0, 1, len(place))
    found = rng.random(len(place)) < score
    # One sample per box, so that nothing is near anything else.
    tokens = tuple(map(str, range(len(place))))
    matches = make_matches(
        {"x": place[found].tolist(), "sample": np.flatnonzero(found).tolist()},
        {"x": place.tolist(), "sample": list(range(len(place))), "detection_score": score.tolist()},
        tokens,
    )
    assert calibrate(matches).total.ece < 0.03


@pytest.mark.parametrize("score", [1.5, -0.25])
def test_scores_that_are_no_probabilities_are_refused(make_matches, score: float) -> None:
    matches = make_matches({"x": [0]}, {"x": [0], "detection_score": [score]})
    with pytest.raises(SubmissionError, match=rf"A score of {score} is no probability"):
        calibrate(matches)
