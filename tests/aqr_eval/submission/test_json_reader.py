from __future__ import annotations

import json
import math
import tracemalloc

import pytest

from aqr_eval import load_submission
from aqr_eval.nuscenes import json_stream
from aqr_eval.nuscenes.errors import SubmissionError


def _box(**changes):
    box = {
        "sample_token": "a",
        "translation": [1.0, 2.0, 3.0],
        "size": [2, 4, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.5, math.nan],
        "detection_name": "bus",
        "detection_score": 0.75,
        "attribute_name": "vehicle.moving",
    }
    return {key: value for key, value in (box | changes).items() if value is not ...}


def _write(tmp_path, boxes, **top):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"meta": {}, "results": {"a": boxes, "b": []}} | top))
    return path


def test_columns(tmp_path):
    submission = load_submission(_write(tmp_path, [_box(), _box(num_pts=3, attribute_name="")]))
    boxes = submission.boxes
    assert submission.tokens == ("a", "b") and len(boxes) == 2
    assert boxes.label.tolist() == [3, 3] and boxes.attribute.tolist() == [0, -1] and boxes.num_pts.tolist() == [-1, 3]
    assert boxes.translation[0].tolist() == [1, 2, 3] and boxes.size_wlh[0].tolist() == [2, 4, 1.5]
    assert boxes.velocity[0, 0] == 0.5 and math.isnan(boxes.velocity[0, 1]) and boxes.score[0] == 0.75


def test_meta_may_come_last_and_other_keys_are_ignored(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": {"a": [_box()]}, "note": [1], "meta": {"use_lidar": True}}))
    assert load_submission(path).meta == {"use_lidar": True}


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (_box(velocity=..., size=...), "sample 'a', box 0 lacks size, velocity"),
        (_box(detection_score=...), "lacks detection_score"),
        (_box(sample_token="b"), "has sample_token 'b': list each box under its own sample"),
        (_box(translation=[1, 2]), r"has translation = \[1, 2\]: write 3 numbers"),
        (_box(rotation=["1", 0, 0, 0]), "has rotation = "),
        (_box(velocity=[None, 1]), r"has velocity = \[None, 1\]"),
        (_box(detection_name="lorry"), "has detection_name = 'lorry': choose among 'car', 'truck'"),
        (_box(detection_name=["car"]), "has detection_name = "),
        (_box(attribute_name="parked"), "has attribute_name = 'parked'"),
        (_box(detection_score="high"), "has detection_score = 'high'"),
        (_box(num_pts="many"), "has num_pts = 'many'"),
        (_box(detection_score=True), "has detection_score = True: write a number"),
        (_box(translation=[10**400, 0, 0]), "whose translation holds inf"),
        (_box(translation=[10**400, 0, 0], extra=None), "has translation = "),
        (_box(translation=[math.nan, 0, 0]), "whose translation holds nan"),
        (_box(size=[1, math.inf, 1]), "whose size holds inf"),
        (_box(velocity=[math.inf, 0]), "whose velocity holds inf"),
        (_box(detection_score=math.nan), "whose detection_score holds nan"),
        (7, "box 0 is 7: write an object"),
    ],
)
def test_bad_boxes_are_named(tmp_path, box, message):
    with pytest.raises(SubmissionError, match=message):
        load_submission(_write(tmp_path, [box]))


def test_at_most_500_boxes(tmp_path):
    assert len(load_submission(_write(tmp_path, [_box()] * 500)).boxes) == 500
    with pytest.raises(SubmissionError, match="sample 'a' has 501 boxes, the limit is 500"):
        load_submission(_write(tmp_path, [_box()] * 501))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "holds no JSON object"),
        ('{"meta": {}, "results": {"a": []', "breaks off"),
        ('{"meta": {}, "results": {"a": [], "bc": [{"sample_token": "bc", "trans', "in sample 'bc' "),
        ('{"meta": {}, "results": {"a": [], "a": []}}', "sample 'a' appears twice"),
        ('{"meta": {}, "results": {"a": {}}}', "where a list of boxes belongs"),
        ('{"meta": {}, "results": []}', "must map sample tokens"),
        ('{"meta": {}}', "has no 'results' object"),
        ('{"meta": {}, "results": {}, "results": {}}', "has 'results' twice"),
        ('{"meta": {}, "results": {}} {}', "'{' stands behind the end"),
        ('{"meta": {}, "results": {"a": ' + "[" * 100_000, "nested without end"),
        ('{"meta": {}, "results": {"a": [' + "9" * 5000 + "]}}", "Exceeds the limit"),
        ('{"results": {}}', "has no 'meta' object"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=message):
        load_submission(path)


def test_missing_file(tmp_path):
    with pytest.raises(SubmissionError, match=r"none\.json does not exist"):
        load_submission(tmp_path / "none.json")
    with pytest.raises(SubmissionError, match=r"is a folder: give a file in it, such as .*submission\.json"):
        load_submission(tmp_path)


def test_the_fault_is_found_behind_sound_boxes(tmp_path):
    """The reader takes uniform boxes at once; one that is not uniform must still be told apart from the others."""
    path = _write(tmp_path, [_box(), _box(), _box(size=[1, 2])])
    with pytest.raises(SubmissionError, match=r"sample 'a', box 2 has size = \[1, 2\]"):
        load_submission(path)


@pytest.mark.parametrize("hostile", ["[1.5, " * 2_000_000, "[" * 9_000_000, '["' + "x" * 9_000_000])
def test_hostile_values_take_bounded_memory(tmp_path, hostile):
    path = tmp_path / "results.json"
    path.write_text('{"meta": {}, "results": {"a": ' + hostile)
    tracemalloc.start()
    with pytest.raises(SubmissionError, match="in sample 'a' .a value of more than 4194304 characters"):
        load_submission(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


def test_a_value_without_end_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_LONGEST_VALUE_CHARS", 1 << 16)
    monkeypatch.setattr(json_stream, "_CHUNK_CHARS", 1 << 10)
    path = tmp_path / "results.json"
    path.write_text('{"meta": {}, "results": {"a": [' + "[1, 2, 3], " * 100_000)
    with pytest.raises(
        SubmissionError, match=r"after 30 characters, in sample 'a' \(a value of more than 65536 characters\)"
    ):
        load_submission(path)
