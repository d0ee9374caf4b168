from __future__ import annotations

import json

import numpy as np
import pytest

from aqr_eval.nuscenes.classes import CAMERAS
from aqr_eval.nuscenes.errors import DataError
from aqr_eval.nuscenes.tables import TABLES, NuScenesTables


def test_keyframes_of_the_tiny_dataset(tiny_dataroot):
    tables = NuScenesTables(tiny_dataroot, "v1.0-mini")
    assert tables.scene_names == ("scene-0103",)
    assert tables.count_keyframes(["scene-0103"]) == 3
    first, second, third = tables.keyframes(["scene-0103"])
    assert (first.token, first.prev, first.next) == ("t0", "", "t1")
    assert third.next == "" and third.scene_name == "scene-0103"
    assert first.lidar.filename == "samples/LIDAR_TOP/0.bin" and first.sweeps == ()
    assert [sweep.filename for sweep in third.sweeps] == [
        "sweeps/LIDAR_TOP/3.bin",
        "samples/LIDAR_TOP/2.bin",
        "sweeps/LIDAR_TOP/1.bin",
        "samples/LIDAR_TOP/0.bin",
    ]
    assert third.sweeps[0].timestamp_us == third.lidar.timestamp_us - 250_000
    assert list(second.cameras) == ["CAM_FRONT"]
    camera = second.cameras["CAM_FRONT"]
    assert (camera.width, camera.height) == (800, 450) and camera.intrinsic[0, 2] == 400
    assert second.lidar.intrinsic is None
    # The sensor looks along -y of the vehicle, which stands at x = 0.5 m.
    point = second.lidar.ego2global @ second.lidar.sensor2ego @ [1, 0, 0, 1]
    np.testing.assert_allclose(point, [1.5, -1.0, 1.8, 1.0], atol=1e-12)


def test_annotations_of_the_tiny_dataset(tiny_dataroot):
    first, second, _ = NuScenesTables(tiny_dataroot, "v1.0-mini").keyframes(["scene-0103"])
    car, pedestrian = first.annotations
    assert (car.token, car.category, car.class_name) == ("car0", "vehicle.car", "car")
    assert (car.attribute, car.visibility, car.num_lidar_pts, car.num_radar_pts) == ("vehicle.moving", "v80-100", 7, 1)
    np.testing.assert_allclose(car.velocity, [2.0, 0.0], atol=1e-6)
    assert np.isnan(pedestrian.velocity).all() and pedestrian.attribute == ""
    assert [(a.class_name, a.category) for a in second.annotations[1:]] == [
        ("bicycle", "vehicle.bicycle"),
        (None, "static_object.bicycle_rack"),
    ]


@pytest.mark.parametrize(("max_sweeps", "expected"), [(0, 0), (1, 1), (3, 3), (10, 4)])
def test_max_sweeps(tiny_dataroot, max_sweeps, expected):
    *_, third = NuScenesTables(tiny_dataroot, "v1.0-mini").keyframes(["scene-0103"], max_sweeps=max_sweeps)
    assert len(third.sweeps) == expected


def test_order_of_rows_does_not_matter(tmp_path, tiny_tables, write_tables):
    for rows in tiny_tables.values():
        rows.reverse()
    tables = NuScenesTables(write_tables(tmp_path / "reversed", tiny_tables), "v1.0-mini")
    keyframes = list(tables.keyframes(["scene-0103"]))
    assert [keyframe.token for keyframe in keyframes] == ["t0", "t1", "t2"]
    assert [len(keyframe.sweeps) for keyframe in keyframes] == [0, 2, 4]
    np.testing.assert_allclose(keyframes[1].annotations[-1].velocity, [2.0, 0.0], atol=1e-6)


def test_radar_rows_may_be_absent(tmp_path, tiny_tables, write_tables):
    tiny_tables["sample_data"] = [row for row in tiny_tables["sample_data"] if "RADAR" not in row["token"]]
    tables = NuScenesTables(write_tables(tmp_path / "no_radar", tiny_tables), "v1.0-mini")
    assert len(list(tables.keyframes(["scene-0103"]))) == 3


def test_all_missing_tables_are_listed_at_once(tiny_dataroot):
    for name in ("attribute", "visibility", "map"):
        (tiny_dataroot / "v1.0-mini" / f"{name}.json").unlink()
    with pytest.raises(DataError, match=r"lacks attribute\.json, map\.json, visibility\.json: unpack"):
        NuScenesTables(tiny_dataroot, "v1.0-mini")
    with pytest.raises(DataError, match="v1.0-trainval does not exist"):
        NuScenesTables(tiny_dataroot, "v1.0-trainval")


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("log", "map")])
def test_truncated_tables_are_named(tiny_dataroot, name):
    path = tiny_dataroot / "v1.0-mini" / f"{name}.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=rf"{name}\.json breaks off"):
        list(NuScenesTables(tiny_dataroot, "v1.0-mini").keyframes(["scene-0103"]))


@pytest.mark.parametrize(
    ("table", "row", "change", "message"),
    [
        ("sample", 1, {"scene_token": "x"}, r"sample\.json: token 't1' has scene_token = 'x', which is not in scene"),
        ("sample", 1, {"timestamp": "noon"}, r"'t1' has timestamp = 'noon'"),
        ("sample", 1, {"timestamp": None}, r"'t1' has timestamp = None"),
        ("instance", 0, {"category_token": "x"}, r"instance\.json: token 'i-car' has category_token = 'x'"),
        ("calibrated_sensor", 0, {"sensor_token": "x"}, r"'k-LIDAR_TOP' has sensor_token = 'x'"),
        ("calibrated_sensor", 0, {"rotation": [0, 0, 0, 0]}, r"'k-LIDAR_TOP' has an all-zero rotation"),
        ("calibrated_sensor", 1, {"camera_intrinsic": [[1, 0, 0]]}, r"camera_intrinsic of 1 rows where 3 belong"),
        ("calibrated_sensor", 1, {"camera_intrinsic": [[1, 0]] * 3}, r"camera_intrinsic = \[1, 0\] where 3 numbers"),
        ("sample_data", 0, {"sample_token": "x"}, r"'LIDAR_TOP-0' has sample_token = 'x'"),
        ("sample_data", 2, {"calibrated_sensor_token": "x"}, r"'RADAR_FRONT-0' has calibrated_sensor_token = 'x'"),
        ("sample_data", 0, {"ego_pose_token": "x"}, r"ego_pose\.json has no complete row 'x'"),
        ("sample_data", 0, {"timestamp": "noon"}, r"'LIDAR_TOP-0' has timestamp, width, height = \('noon'"),
        ("sample_data", 0, {"is_key_frame": False}, r"no LIDAR_TOP keyframe for sample 't0' of scene-0103"),
        ("ego_pose", 0, {"translation": [1, 2]}, r"'p-LIDAR_TOP-0' has translation = \[1, 2\] where 3 numbers belong"),
        ("ego_pose", 0, {"rotation": [0, 0, 0, 0]}, r"'p-LIDAR_TOP-0' has an all-zero rotation"),
        ("sample_annotation", 0, {"sample_token": "x"}, r"'car0' has sample_token = 'x', which is not in sample"),
        ("sample_annotation", 0, {"instance_token": "x"}, r"'car0' has instance_token = 'x'"),
        ("sample_annotation", 0, {"next": "x"}, r"'car0' has next = 'x', which is not in sample_annotation"),
        ("sample_annotation", 0, {"attribute_tokens": ["x"]}, r"'car0' has attribute_tokens = 'x'"),
        ("sample_annotation", 0, {"attribute_tokens": ["a-moving"] * 2}, r"'car0' has 2 attribute_tokens"),
        ("sample_annotation", 0, {"size": "big"}, r"'car0' has size = 'big' where 3 numbers belong"),
        ("sample_annotation", 0, {"num_lidar_pts": None}, r"'car0' has num_lidar_pts = \(None,\)"),
        ("sample_annotation", 0, {"translation": [float("nan"), 0, 0]}, r"'car0' has translation = \[nan, 0.0, 0.0\]"),
    ],
)
def test_bad_rows_are_named(tmp_path, tiny_tables, write_tables, table, row, change, message):
    tiny_tables[table][row].update(change)
    dataroot = write_tables(tmp_path / "bad", tiny_tables)
    with pytest.raises(DataError, match=message):
        list(NuScenesTables(dataroot, "v1.0-mini").keyframes(["scene-0103"]))


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ("scene", "name"),
        ("sample", "timestamp"),
        ("sample_data", "ego_pose_token"),
        ("ego_pose", "rotation"),
        ("sample_annotation", "translation"),
        ("sensor", "channel"),
    ],
)
def test_missing_fields_are_named(tmp_path, tiny_tables, write_tables, table, field):
    del tiny_tables[table][0][field]
    dataroot = write_tables(tmp_path / "bad", tiny_tables)
    with pytest.raises(DataError, match=rf"{table}\.json: row 0 \(token '.*'\) has no field '{field}'"):
        list(NuScenesTables(dataroot, "v1.0-mini").keyframes(["scene-0103"]))


def test_rows_that_are_no_objects(tmp_path, tiny_tables, write_tables):
    tiny_tables["scene"] = [3]
    with pytest.raises(DataError, match=r"scene\.json: row 0 is 3 where an object belongs"):
        NuScenesTables(write_tables(tmp_path / "bad", tiny_tables), "v1.0-mini")


def test_unknown_scene(tiny_dataroot):
    with pytest.raises(DataError, match="no scene 'scene-0001'"):
        NuScenesTables(tiny_dataroot, "v1.0-mini").count_keyframes(["scene-0103", "scene-0001"])


def test_real_tables(real_dataroot):
    tables = NuScenesTables(real_dataroot, "v1.0-mini")
    keyframes = {keyframe.token: keyframe for keyframe in tables.keyframes(tables.scene_names)}
    assert len(keyframes) == 81
    assert sum(len(keyframe.annotations) for keyframe in keyframes.values()) == 5049
    empty = sum(a.num_lidar_pts == 0 for keyframe in keyframes.values() for a in keyframe.annotations)
    assert empty == 1463
    rows = {row["token"]: row for row in json.loads((tables.folder / "sample_data.json").read_text())}
    by_filename = {row["filename"]: row for row in rows.values()}
    for keyframe in keyframes.values():
        assert tuple(keyframe.cameras) == CAMERAS
        row, chain = by_filename[keyframe.lidar.filename], []
        while row["prev"] and len(chain) < 10:  # time order must equal the chain that the rows themselves form
            row = rows[row["prev"]]
            chain.append(row["filename"])
        assert [sweep.filename for sweep in keyframe.sweeps] == chain
