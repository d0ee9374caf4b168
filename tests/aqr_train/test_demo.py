from __future__ import annotations

import json

import pytest

from aqr_train.demo import reached_map


@pytest.mark.parametrize("scores", [{"mean_ap": 0.5}, {"baseline": {"mean_ap": 0.1}, "v3": {"mean_ap": 0.5}}])
def test_the_score_of_one_submission_and_of_several(tmp_path, scores):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(scores))
    assert reached_map(path) == 0.5
