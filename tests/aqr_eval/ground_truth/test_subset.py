from __future__ import annotations

import numpy as np
import pytest

from aqr_eval import Submission, evaluate, load_ground_truth
from aqr_eval.nuscenes.errors import DataError, SubmissionError


@pytest.fixture(scope="module")
def truth(real_dataroot):
    return load_ground_truth(real_dataroot, "v1.0-mini", "both")


def test_by_scene(truth, real_dataroot):
    part, whole = truth.subset(scenes=["scene-0916"]), load_ground_truth(real_dataroot, "v1.0-mini", "one")
    assert part.tokens == whole.tokens and set(part.scenes) == {"scene-0916"}
    np.testing.assert_array_equal(part.boxes.translation, whole.boxes.translation)
    np.testing.assert_array_equal(part.bicycle_racks.translation, whole.bicycle_racks.translation)
    np.testing.assert_array_equal(part.visibility, whole.visibility)


def test_by_count_and_token(truth):
    assert truth.subset(first=3).tokens == truth.tokens[:3]
    assert truth.subset(first=999).tokens == truth.tokens
    chosen = [truth.tokens[5], truth.tokens[2]]
    assert truth.subset(tokens=chosen).tokens == (truth.tokens[2], truth.tokens[5])  # in the order of the dataset
    assert truth.subset(tokens=chosen, first=1).tokens == (truth.tokens[2],)


def test_predictions_of_other_samples_are_ignored(truth):
    everything = Submission(truth.tokens, truth.boxes, {})
    assert evaluate(truth.subset(first=10), everything).mean_ap > 0
    with pytest.raises(SubmissionError, match="9 missing"):
        evaluate(truth.subset(first=10), Submission(truth.tokens[:1], truth.boxes.select(truth.boxes.sample < 1), {}))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"scenes": ["scene-9"]}, "belongs to scene 'scene-9': choose among scene-0523, scene-0916"),
        ({"tokens": ["x"]}, "has no sample 'x'"),
        ({"first": 0}, "give at least 1"),
    ],
)
def test_conditions_that_no_sample_meets(truth, conditions, message):
    with pytest.raises(DataError, match=message):
        truth.subset(**conditions)


def test_conditions_that_exclude_each_other(truth):
    with pytest.raises(DataError, match="meets all conditions"):
        truth.subset(scenes=["scene-0916"], tokens=[truth.tokens[list(truth.scenes).index("scene-0523")]])
