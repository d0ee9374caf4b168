"""Both formats hold the same to the last bit, and what is wrong with a columnar file is said."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aqr_eval import Submission, load_submission, write_submission
from aqr_eval.box_columns import box_columns
from aqr_eval.boxes import Boxes
from aqr_eval.columns_file import write_columns
from aqr_eval.nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES
from aqr_eval.nuscenes.errors import SubmissionError

FACTS = {"tokens": ["a"], "meta": {}, "classes": DETECTION_CLASSES, "attributes": ATTRIBUTES}


def _submission(count=40, seed=0):
    rng = np.random.default_rng(seed)
    velocity = rng.normal(size=(count, 2))
    velocity[::7] = np.nan
    boxes = Boxes(
        sample=np.sort(rng.integers(0, 5, count)),
        label=rng.integers(0, 10, count),
        translation=rng.normal(size=(count, 3)) * 1e3,
        size_wlh=rng.random((count, 3)),
        rotation_wxyz=rng.normal(size=(count, 4)),
        velocity=velocity,
        score=rng.random(count),
        attribute=rng.integers(-1, 8, count),
        num_pts=rng.integers(-1, 3, count),
    )
    return Submission(tuple("abcdef"), boxes, {"use_lidar": True})


@pytest.mark.parametrize("name", ["new/s.json", "new/s.safetensors"])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_write_then_load(tmp_path, name, count):
    written = _submission(count)
    path = write_submission(tmp_path / name, written)
    loaded = load_submission(path)
    assert loaded.tokens == written.tokens and loaded.meta == written.meta and loaded.source == str(path)
    for field in fields(Boxes):
        np.testing.assert_array_equal(getattr(loaded.boxes, field.name), getattr(written.boxes, field.name))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_json_is_what_the_devkit_reads(tmp_path):
    content = json.loads(write_submission(tmp_path / "s.json", _submission()).read_text())
    assert content["meta"] == {"use_lidar": True} and list(content["results"]) == list("abcdef")
    assert all(box["sample_token"] == token for token, boxes in content["results"].items() for box in boxes)
    counts = [box["num_pts"] for boxes in content["results"].values() for box in boxes if "num_pts" in box]
    assert counts and -1 not in counts  # unknown is not written: the devkit drops boxes with 0 points


def test_equal_content_is_equal_bytes_for_everybody_to_read(tmp_path):
    first, second = (write_submission(tmp_path / f"{name}.safetensors", _submission()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    (tmp_path / "plain").touch()
    assert first.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_content_decides_not_the_name(tmp_path):
    path = write_submission(tmp_path / "s.safetensors", _submission())
    assert len(load_submission(path.rename(tmp_path / "s.json")).boxes) == 40


def test_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_submission(tmp_path / "s.json", replace(_submission(), meta={"use_lidar": object()}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, f: c.pop("velocity"), "lacks the column 'velocity'"),
        (lambda c, f: c.update(score=c["score"].astype(np.int64)), "column 'score' is int64"),
        (lambda c, f: c.update(size=c["size"][:, :2].copy()), r"column 'size' is float64 of shape \(40, 2\), not"),
        (lambda c, f: c.update(score=c["score"][:3].copy()), r"column 'score' is float64 of shape \(3,\)"),
        (lambda c, f: c["label"].__setitem__(3, 10), "row 3 of column 'label' holds 10, allowed are 0 to 9"),
        (lambda c, f: c["attribute"].__setitem__(2, 8), "row 2 of column 'attribute' holds 8"),
        (lambda c, f: c["sample"].__setitem__(39, 6), "row 39 of column 'sample' holds 6, allowed are 0 to 5"),
        (lambda c, f: c["sample"].__setitem__(0, 5), "not sorted by sample"),
        (lambda c, f: c["translation"].__setitem__((5, 1), np.nan), "whose translation holds nan"),
        (lambda c, f: c["velocity"].__setitem__((5, 1), np.inf), "whose velocity holds inf"),
        (lambda c, f: f.update(tokens='["a", "b", "c", "d", "e", "a"]'), "sample 'a' appears twice"),
        (lambda c, f: f.update(tokens="[1]"), "holds more than strings"),
        (lambda c, f: f.update(tokens="{"), "lacks 'tokens' in its header"),
        (lambda c, f: f.update(classes='["car"]'), "counts other classes than car, truck"),
        (lambda c, f: f.update(version="2"), "is of version '2', this release reads 1"),
        (lambda c, f: f.update(format="pt"), "holds 'pt', not 'aqr-submission'"),
    ],
)
def test_bad_columns_are_named(tmp_path, change, message):
    path = write_submission(tmp_path / "s.safetensors", _submission())
    columns = load_file(path)
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])["__metadata__"]
    change(columns, header)
    save_file(columns, path, metadata=header)
    with pytest.raises(SubmissionError, match=message):
        load_submission(path)


@pytest.mark.parametrize("keep", [9, 400, -1])
def test_a_cut_file(tmp_path, keep):
    path = write_submission(tmp_path / "s.safetensors", _submission())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SubmissionError, match=r"s\.safetensors (cannot be read as columns|breaks off|holds no JSON)"):
        load_submission(path)


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path):
    header = json.dumps({"score": {"dtype": "F64", "shape": [10**11], "data_offsets": [0, 8 * 10**11]}}).encode()
    path = tmp_path / "s.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"00000000")
    with pytest.raises(SubmissionError, match="cannot be read as columns"):
        load_submission(path)


def test_at_most_500_boxes(tmp_path):
    boxes = Boxes.concatenate([_submission(40).boxes] * 13)
    crowded = Submission(("a",), boxes.with_sample(np.zeros(520, np.int64)), {})
    with pytest.raises(SubmissionError, match="sample 'a' has 520 boxes, the limit is 500"):
        write_submission(tmp_path / "s.json", crowded)
    write_columns(tmp_path / "s.safetensors", "submission", box_columns(crowded.boxes), FACTS)
    with pytest.raises(SubmissionError, match="sample 'a' has 520 boxes, the limit is 500"):
        load_submission(tmp_path / "s.safetensors")


@pytest.mark.parametrize("name", ["s.json", "s.safetensors"])
def test_what_no_reader_takes_is_not_written(tmp_path, name):
    broken = _submission()
    broken.boxes.rotation_wxyz[7, 2] = np.nan
    token = broken.tokens[broken.boxes.sample[7]]
    with pytest.raises(SubmissionError, match=f"The submission: sample '{token}' has a box whose rotation holds nan"):
        write_submission(tmp_path / name, broken)
    assert not list(tmp_path.iterdir())
