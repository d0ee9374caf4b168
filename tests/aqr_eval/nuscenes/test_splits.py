from __future__ import annotations

import json

import pytest

from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.splits import SPLITS, scenes_of


def test_official_splits():
    assert {name: len(scenes) for name, scenes in SPLITS.items()} == {
        "train": 700,
        "val": 150,
        "test": 150,
        "mini_train": 8,
        "mini_val": 2,
    }
    assert SPLITS["mini_val"] == ("scene-0103", "scene-0916")
    assert set(SPLITS["mini_val"]) < set(SPLITS["val"])
    assert not set(SPLITS["train"]) & set(SPLITS["val"])
    assert len(set().union(*SPLITS.values())) == 1000


def test_version_must_fit():
    assert scenes_of("val", "v1.0-trainval")[0] == "scene-0003"
    assert scenes_of("mini_val", "v1.0-synth-mini") == SPLITS["mini_val"]
    with pytest.raises(DataError, match="'trainval', not to 'v1.0-mini'.*mini_train, mini_val"):
        scenes_of("val", "v1.0-mini")


def test_custom_split(tmp_path):
    (tmp_path / "v1").mkdir()
    path = tmp_path / "v1" / "splits.json"
    with pytest.raises(DataError, match="define it in"):
        scenes_of("mine", "v1", tmp_path)
    with pytest.raises(DataError, match="give the dataroot"):
        scenes_of("mine", "v1")
    path.write_text(json.dumps({"mine": ["a", "b"], "broken": "a"}))
    assert scenes_of("mine", "v1", tmp_path) == ("a", "b")
    with pytest.raises(DataError, match="defines mine, broken"):
        scenes_of("yours", "v1", tmp_path)
    with pytest.raises(DataError, match="must be a list of scene names"):
        scenes_of("broken", "v1", tmp_path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        scenes_of("mine", "v1", tmp_path)


def test_equals_the_devkit():
    devkit = pytest.importorskip("nuscenes.utils.splits", reason="the nuScenes devkit is not installed")
    for name, scenes in SPLITS.items():
        assert list(scenes) == getattr(devkit, name)
