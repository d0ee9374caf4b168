"""`convert_infos`: what it writes, what it tells, what it refuses."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import build_infos, open_infos
from aqr_core.infos.conversion import convert_infos
from aqr_core.infos.schema import info_to_record
from aqr_core.infos.write import write_infos


@pytest.fixture
def source(tiny_root, tmp_path: Path) -> Path:
    return build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"]


@pytest.fixture
def pickled(source: Path, tmp_path: Path) -> Path:
    return convert_infos(source, tmp_path / "nuscenes_infos_val.pkl").path


def edited(path: Path, out: Path, change) -> Path:
    """A pickle with something else in it."""
    content = pickle.loads(path.read_bytes())
    change(content)
    out.write_bytes(pickle.dumps(content))
    return out


def as_created(content: dict) -> None:
    """Without what mmdet3d's tool does not write, with what only it writes."""
    content["metainfo"].pop("split")
    content["metainfo"]["categories"].update({"animal": -1, "movable_object.debris": -1})
    for record in content["data_list"]:
        for key in ("scene_name", "prev", "next"):
            record.pop(key)
        record["cam_instances"] = {}
        for image in record["images"].values():
            image.pop("width")
            image.pop("height")
            image["cam2ego"] = np.eye(4).tolist()
        for instance in record["instances"]:
            instance.pop("attr_label")
        record["instances"].append({**record["instances"][0], "bbox_label": -1, "bbox_label_3d": -1})


def test_ours_to_theirs_tells_what_is_lost(source, tmp_path):
    seen = []
    done = convert_infos(source, tmp_path / "new" / "x.pkl", progress=lambda *told: seen.append(told))
    assert done.path == tmp_path / "new" / "x.pkl" and done.keyframes == 2
    assert done.left_behind == ("the tracks of 3 boxes",) and done.unknown == ()
    assert seen == [("x.pkl", 1, 2), ("x.pkl", 2, 2)]


def test_theirs_to_ours_and_back_is_the_same_pickle(pickled, tmp_path):
    done = convert_infos(pickled, tmp_path / "x.jsonl")
    assert done.left_behind == () and done.unknown == ()
    again = convert_infos(done.path, tmp_path / "again.pkl")
    assert again.left_behind == ()
    for got, want in zip(open_infos(again.path), open_infos(pickled), strict=True):
        for mine, own in zip(got.sweeps, want.sweeps, strict=True):
            np.testing.assert_allclose(mine.sweep2lidar, own.sweep2lidar, rtol=0, atol=1e-11)
        assert info_to_record(replace(got, sweeps=())) == info_to_record(replace(want, sweeps=()))


def test_what_their_tool_writes_and_does_not_write_is_told(pickled, tmp_path):
    created = edited(pickled, tmp_path / "created.pkl", as_created)
    done = convert_infos(created, tmp_path / "x.jsonl", split="mini_val")
    assert done.left_behind == (
        "2 boxes outside the ten classes",
        "the field cam_instances of 2 records",
        "the field images.cam2ego of 12 records",
    )
    assert done.unknown == (
        "scenes and links between keyframes (failures in time)",
        "attributes (AAE is 1 without)",
        "image sizes (which camera sees what, in reports)",
    )
    written = open_infos(done.path)
    assert written.header.split == "mini_val" and written.header.dataset_version == "v1.0-mini"
    assert [info.gt.labels.tolist() for info in written] == [[0, 5], [0]]


def test_without_a_split_that_is_told_too(pickled, tmp_path):
    created = edited(pickled, tmp_path / "created.pkl", as_created)
    done = convert_infos(created, tmp_path / "x.jsonl")
    assert done.unknown[0] == "the split (give --split, or keep the tables beside)"
    assert open_infos(done.path).header.split == ""


def test_a_split_of_another_version_is_refused(pickled, tmp_path):
    created = edited(pickled, tmp_path / "created.pkl", as_created)
    with pytest.raises(DataError, match="Split 'val' belongs to versions that end in 'trainval', not to 'v1.0-mini'"):
        convert_infos(created, tmp_path / "x.jsonl", split="val")
    with pytest.raises(ConfigError, match="says that its split is 'mini_val', not 'mini_train'; leave --split out"):
        convert_infos(pickled, tmp_path / "x.jsonl", split="mini_train")
    assert not (tmp_path / "x.jsonl").exists()


@pytest.mark.parametrize("name", ["x.json", "x", "x.pkl.gz"])
def test_other_endings_are_refused(source, tmp_path, name):
    with pytest.raises(ConfigError, match=rf"--out .*{name} ends in neither .jsonl .* nor .pkl"):
        convert_infos(source, tmp_path / name)


def test_the_same_form_is_refused(source, pickled, tmp_path):
    with pytest.raises(ConfigError, match="is in the form of --out .* already.*or end --out in .pkl"):
        convert_infos(source, tmp_path / "x.jsonl")
    with pytest.raises(ConfigError, match="is in the form of --out .* already.*or end --out in .jsonl"):
        convert_infos(pickled, tmp_path / "x.pkl")


def test_nothing_is_overwritten(source, tmp_path):
    out = tmp_path / "x.pkl"
    out.write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"--out .*x\.pkl exists; remove it or choose another name"):
        convert_infos(source, out)
    assert out.read_bytes() == b"mine"


def test_a_broken_record_leaves_no_file(pickled, tmp_path):
    def change(content: dict) -> None:
        content["data_list"][1]["ego2global"][0][0] = 5.0

    broken = edited(pickled, tmp_path / "broken.pkl", change)
    with pytest.raises(DataError, match="keyframe 1: field 'ego2global' is no rigid transform"):
        convert_infos(broken, tmp_path / "x.jsonl")
    assert list(tmp_path.glob("*x.jsonl*")) == []


def test_no_keyframe_is_refused(source, tmp_path):
    write_infos(tmp_path / "empty.jsonl", open_infos(source).header, [])
    with pytest.raises(DataError, match="holds no keyframe"):
        convert_infos(tmp_path / "empty.jsonl", tmp_path / "x.pkl")


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.pkl does not exist"):
        convert_infos(tmp_path / "nothing.pkl", tmp_path / "x.jsonl")
