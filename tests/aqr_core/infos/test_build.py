from __future__ import annotations

import json
import logging

import pytest

from aqr_core.errors import DataError
from aqr_core.infos import Infos, build_infos


def build(root, out, **arguments):
    return build_infos(root.path, root.version, out, **arguments)


def test_writes_one_file_per_split_with_scenes(tiny_root, tmp_path):
    written = build(tiny_root, tmp_path / "out")
    assert written == {"mini_val": tmp_path / "out/infos_mini_val.jsonl"}  # scene-0103; mini_train has no scene here
    infos = Infos.open(written["mini_val"])
    assert [info.token for info in infos] == ["sample0", "sample1"]
    assert infos.header.dataset_version == "v1.0-mini"
    assert infos.header.split == "mini_val"


def test_custom_split(tiny_root, tmp_path):
    (tiny_root.path / "v1.0-mini/splits.json").write_text(json.dumps({"mine": ["scene-0103"]}))
    assert set(build(tiny_root, tmp_path)) == {"mini_val", "mine"}
    assert set(build(tiny_root, tmp_path, splits=["mine"])) == {"mine"}


def test_custom_splits_that_are_no_json(tiny_root, tmp_path):
    (tiny_root.path / "v1.0-mini/splits.json").write_text("{mine:")
    with pytest.raises(DataError, match=r"splits\.json is not valid JSON"):
        build(tiny_root, tmp_path)


def test_split_without_scenes(tiny_root, tmp_path):
    with pytest.raises(DataError, match="No scene of split 'mini_train'"):
        build(tiny_root, tmp_path, splits=["mini_train"])
    tiny_root.tables["scene"][0]["name"] = "scene-9999"
    tiny_root.write()
    with pytest.raises(DataError, match=r"mini_train, mini_val.*splits\.json"):
        build(tiny_root, tmp_path)


def test_all_missing_files_are_counted_before_any_work(tiny_root, tmp_path):
    (tiny_root.path / "samples/CAM_BACK/1.jpg").unlink()
    for sweep in (tiny_root.path / "sweeps/LIDAR_TOP").iterdir():
        sweep.unlink()
    with pytest.raises(DataError, match=r"lacks 5 sensor files: samples/CAM_BACK/1\.jpg, sweeps/LIDAR_TOP/400000"):
        build(tiny_root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_long_list_of_missing_files_is_complete_in_a_file_of_its_own(tiny_root, tmp_path):
    removed = [
        path for folder in ("samples/CAM_BACK", "sweeps/LIDAR_TOP") for path in (tiny_root.path / folder).iterdir()
    ]
    kept = {path: path.read_bytes() for path in removed}
    for path in removed:
        path.unlink()
    with pytest.raises(DataError, match=r"lacks 6 sensor files: .* and 1 more, all listed in .*missing_files\.txt"):
        build(tiny_root, tmp_path)
    report = tmp_path / "missing_files.txt"
    assert {tiny_root.path / line for line in report.read_text().splitlines()} == set(removed)
    for path, content in kept.items():
        path.write_bytes(content)
    build(tiny_root, tmp_path)
    assert not report.exists()


def test_missing_table_is_named(tiny_root, tmp_path):
    (tiny_root.path / "v1.0-mini/ego_pose.json").unlink()
    with pytest.raises(DataError, match=r"ego_pose\.json"):
        build(tiny_root, tmp_path)


def test_missing_camera_is_named(tiny_root, tmp_path):
    tiny_root.tables["sample_data"] = [row for row in tiny_root.tables["sample_data"] if row["token"] != "CAM_FRONT1"]
    tiny_root.write()
    with pytest.raises(DataError, match="no keyframe of CAM_FRONT for sample 'sample1'"):
        build(tiny_root, tmp_path)
    assert not list(tmp_path.glob("infos*"))


def test_partial_extract_keeps_what_is_there(tiny_root, tmp_path, caplog):
    (tiny_root.path / "samples/CAM_BACK/0.jpg").unlink()
    (tiny_root.path / "sweeps/LIDAR_TOP/300000.pcd.bin").unlink()
    with caplog.at_level(logging.WARNING):
        infos = Infos.open(build(tiny_root, tmp_path, require_files=False)["mini_val"])
    assert [info.token for info in infos] == ["sample1"]
    assert [sweep.age for sweep in infos[0].sweeps] == pytest.approx([0.1, 0.3, 0.4, 0.5])
    assert "left out 1 of 2 keyframes, 1 sweeps" in caplog.text


def test_partial_extract_without_any_keyframe(tiny_root, tmp_path):
    for image in (tiny_root.path / "samples/CAM_BACK").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="No keyframe of split 'mini_val' has its seven sensor files"):
        build(tiny_root, tmp_path / "out", require_files=False)
    assert list((tmp_path / "out").iterdir()) == []


class Interrupt(Exception):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("cut_bytes", [0, 100])
def test_an_interrupted_run_continues(tiny_root, tmp_path, caplog, cut_bytes):
    whole = build(tiny_root, tmp_path / "whole")["mini_val"].read_bytes()

    def stop_after_first(split, done, total):
        assert (split, total) == ("mini_val", 2)
        raise Interrupt

    with pytest.raises(Interrupt):
        build(tiny_root, tmp_path, progress=stop_after_first)
    partial = tmp_path / "infos_mini_val.jsonl.partial"
    assert [path.name for path in tmp_path.glob("infos*")] == [partial.name]
    if cut_bytes:  # killed within the write of the second record
        with partial.open("ab") as file:
            file.write(whole.splitlines()[2][:cut_bytes])
    with caplog.at_level(logging.INFO):
        resumed = build(tiny_root, tmp_path)["mini_val"]
    assert "continuing behind 1 keyframes" in caplog.text
    assert resumed.read_bytes() == whole
    assert not partial.exists()


def test_a_partial_file_of_other_tables_is_not_continued(tiny_root, tmp_path):
    def stop(split, done, total):
        raise Interrupt

    with pytest.raises(Interrupt):
        build(tiny_root, tmp_path, progress=stop)
    tiny_root.tables["sample_annotation"][0]["num_lidar_pts"] = 1234
    tiny_root.write()
    infos = Infos.open(build(tiny_root, tmp_path)["mini_val"])
    assert infos[0].gt.num_lidar_pts[0] == 1234


def test_a_finished_file_is_kept_until_the_tables_change(tiny_root, tmp_path):
    path = build(tiny_root, tmp_path)["mini_val"]
    before = path.stat().st_mtime_ns
    calls = []
    build(tiny_root, tmp_path, progress=lambda *call: calls.append(call))
    assert path.stat().st_mtime_ns == before
    assert calls == [("mini_val", 2, 2)]
    build(tiny_root, tmp_path, max_sweeps=1)
    assert [len(info.sweeps) for info in Infos.open(path)] == [0, 1]
