"""The prepared file holds the same bits as the tables, and says what is wrong with it."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from aqr_eval import load_ground_truth
from aqr_eval.boxes import Boxes
from aqr_eval.ground_truth import write_ground_truth
from aqr_eval.nuscenes.errors import DataError


@pytest.fixture(scope="module")
def truth(real_dataroot):
    return load_ground_truth(real_dataroot, "v1.0-mini", "both", cameras=True)


def _assert_same_boxes(one, other):
    for field in fields(Boxes):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_everything_comes_back(truth, tmp_path):
    read = load_ground_truth(write_ground_truth(tmp_path / "gt.safetensors", truth))
    assert (read.tokens, read.scenes, read.name) == (truth.tokens, truth.scenes, truth.name)
    assert read.allows_extra_samples == truth.allows_extra_samples and dict(read.descriptions) == {
        name: truth.descriptions[name] for name in set(truth.scenes)
    }
    np.testing.assert_array_equal(read.ego_translation, truth.ego_translation)
    np.testing.assert_array_equal(read.visibility, truth.visibility)
    np.testing.assert_array_equal(read.cameras.global2img, truth.cameras.global2img)
    np.testing.assert_array_equal(read.cameras.size, truth.cameras.size)
    assert read.cameras.channels == truth.cameras.channels
    _assert_same_boxes(read.boxes, truth.boxes)
    _assert_same_boxes(read.bicycle_racks, replace(truth.bicycle_racks, label=0 * truth.bicycle_racks.label))


def test_the_cameras_change_nothing_else(truth, real_dataroot):
    without = load_ground_truth(real_dataroot, "v1.0-mini", "both")
    assert without.cameras is None
    np.testing.assert_array_equal(truth.ego_translation, without.ego_translation)


def test_a_sample_without_lidar_is_named_with_cameras_too(tmp_path, tiny_tables, write_tables):
    tiny_tables["sample_data"][0]["is_key_frame"] = False
    with pytest.raises(DataError, match="no LIDAR_TOP keyframe for sample 't0'"):
        load_ground_truth(write_tables(tmp_path / "cut", tiny_tables), "v1.0-mini", "mini_val", cameras=True)


def test_what_is_unknown_stays_unknown(truth, tmp_path):
    bare = replace(truth, scenes=(), visibility=None, cameras=None, descriptions={})
    read = load_ground_truth(write_ground_truth(tmp_path / "gt.safetensors", bare))
    assert read.scenes == () and read.visibility is None and read.cameras is None


def test_the_context_is_that_of_the_tables(truth):
    """What analyses group by: the real tables say so, counted by hand with the json module alone."""
    assert set(truth.scenes) == {"scene-0523", "scene-0916"} and "roundabout" in truth.descriptions["scene-0523"]
    assert set(np.unique(truth.visibility)) <= {1, 2, 3, 4}
    seen = truth.cameras.sees(truth.boxes.translation, truth.boxes.sample)
    assert seen.shape == (len(truth.boxes), 6)
    assert 0.97 < seen.any(axis=1).mean() <= 1  # six cameras look all around; near boxes may lie below the images
    assert (seen.sum(axis=1) <= 2).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, f: c.pop("ego_translation"), "lacks the column 'ego_translation'"),
        (lambda c, f: c["rack_sample"].__setitem__(-1, 99), "column 'rack_sample' holds 99"),
        (lambda c, f: c["translation"].__setitem__((5, 1), np.inf), "not finite"),
        (lambda c, f: f.update(scenes='["a"]'), "names 1 scenes for 81 samples"),
        (lambda c, f: f.update(format="aqr-submission"), "holds 'aqr-submission', not 'aqr-ground-truth'"),
        (lambda c, f: c.update(visibility=c["visibility"][:2].copy()), "column 'visibility' is int8 of shape"),
    ],
)
def test_bad_files_are_named(truth, tmp_path, change, message):
    path = write_ground_truth(tmp_path / "gt.safetensors", truth)
    columns = load_file(path)
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])["__metadata__"]
    change(columns, header)
    save_file(columns, path, metadata=header)
    with pytest.raises(DataError, match=message):
        load_ground_truth(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere does not exist: give a dataroot with version and split"),
        ((".",), "is a dataroot, which needs version and split"),
        ((__file__, "v1.0-mini", "val"), "is a file, which says itself what it holds"),
    ],
)
def test_sources_that_are_none(words, message):
    with pytest.raises(DataError, match=message):
        load_ground_truth(*words)
