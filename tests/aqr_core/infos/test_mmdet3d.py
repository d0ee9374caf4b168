from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from aqr_core.errors import DataError
from aqr_core.infos import Info, build_infos, open_infos
from aqr_core.infos.schema import info_to_record
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_eval.nuscenes.geometry import matrix_to_quaternion

# The label order of the files that mmdetection3d itself writes; not the benchmark's.
THEIR_CLASSES = ("car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle", "pedestrian")
THEIR_CLASSES += ("traffic_cone", "barrier")


def to_wlh(boxes: np.ndarray) -> np.ndarray:
    """Our rows -> x, y, z, w, l, h, -yaw - pi/2."""
    legacy = boxes[:, [0, 1, 2, 4, 3, 5, 6]]
    legacy[:, 6] = -legacy[:, 6] - np.pi / 2
    return legacy


def as_v1_0(info: Info, convention: str) -> dict:
    """The record that mmdetection3d 0.x and 1.0 write for this keyframe."""
    gt = info.gt

    def pose(prefix: str, matrix: np.ndarray) -> dict:
        return {
            f"{prefix}_translation": matrix[:3, 3].tolist(),
            f"{prefix}_rotation": matrix_to_quaternion(matrix[:3, :3]).tolist(),
        }

    def sensor2lidar(matrix: np.ndarray) -> dict:
        return {"sensor2lidar_rotation": matrix[:3, :3], "sensor2lidar_translation": matrix[:3, 3]}

    return {
        "token": info.token,
        "lidar_path": f"./data/nuscenes/{info.lidar.path}",
        "timestamp": round(info.timestamp * 1e6),
        **pose("lidar2ego", info.lidar.lidar2ego),
        **pose("ego2global", info.ego2global),
        "sweeps": [
            {
                "data_path": f"./data/nuscenes/{sweep.path}",
                "timestamp": round((info.timestamp - sweep.age) * 1e6),
                **sensor2lidar(sweep.sweep2lidar),
            }
            for sweep in info.sweeps
        ],
        "cams": {
            channel: {
                "data_path": f"./data/nuscenes/{camera.path}",
                "timestamp": round(camera.timestamp * 1e6),
                "cam_intrinsic": camera.cam2img,
                **sensor2lidar(np.linalg.inv(camera.lidar2cam)),
            }
            for channel, camera in info.cameras.items()
        },
        "gt_boxes": gt.boxes[:, :7] if convention == "lwh" else to_wlh(gt.boxes),
        "gt_names": np.array([DETECTION_CLASSES[label] for label in gt.labels]),
        "gt_velocity": gt.boxes[:, 7:],
        "num_lidar_pts": gt.num_lidar_pts,
        "num_radar_pts": gt.num_radar_pts,
        "valid_flag": gt.valid,
    }


def as_v1_1(info: Info) -> dict:
    """The record that mmdetection3d from 1.1 writes: seconds, bare file names, labels in its own order."""
    gt, lidar2global = info.gt, info.ego2global @ info.lidar.lidar2ego
    return {
        "token": info.token,
        "timestamp": info.timestamp,
        "ego2global": info.ego2global.tolist(),
        "lidar_points": {
            "lidar_path": info.lidar.path.rsplit("/", 1)[-1],
            "lidar2ego": info.lidar.lidar2ego.tolist(),
            "num_pts_feats": 4,
        },
        "lidar_sweeps": [
            {
                "timestamp": info.timestamp - sweep.age,
                "ego2global": (lidar2global @ sweep.sweep2lidar @ np.linalg.inv(info.lidar.lidar2ego)).tolist(),
                "lidar_points": {"lidar_path": f"nuscenes/{sweep.path}", "lidar2ego": info.lidar.lidar2ego.tolist()},
            }
            for sweep in info.sweeps
        ],
        "images": {
            channel: {
                "img_path": camera.path.rsplit("/", 1)[-1],
                "timestamp": camera.timestamp,
                "cam2img": camera.cam2img.tolist(),
                "lidar2cam": camera.lidar2cam.tolist(),
            }
            for channel, camera in info.cameras.items()
        },
        "instances": [
            {
                "bbox_label_3d": THEIR_CLASSES.index(DETECTION_CLASSES[label]),
                "bbox_3d": box[:7].tolist(),
                "velocity": box[7:].tolist(),
                "num_lidar_pts": lidar_pts,
                "num_radar_pts": radar_pts,
                "bbox_3d_isvalid": valid,
            }
            for label, box, lidar_pts, radar_pts, valid in zip(
                gt.labels, gt.boxes, gt.num_lidar_pts, gt.num_radar_pts, gt.valid, strict=True
            )
        ],
    }


META_V1_1 = {"categories": {name: i for i, name in enumerate(THEIR_CLASSES)}, "info_version": "1.1", "version": "v1.0"}


@pytest.fixture
def infos(tiny_root, tmp_path):
    return open_infos(build_infos(tiny_root.path, tiny_root.version, tmp_path / "infos")["mini_val"])


@pytest.fixture
def save(tmp_path):
    def write(content):
        path = tmp_path / "infos.pkl"
        path.write_bytes(pickle.dumps(content))
        return path

    return write


def assert_same_keyframe(read: Info, built: Info) -> None:
    """Equal but for what these files do not hold."""
    got, want = info_to_record(read), info_to_record(built)
    for record in (got, want):
        for key in ("scene", "prev", "next"):
            record.pop(key)
        record["gt"].pop("attributes")
        record["gt"].pop("instances")
        for camera in record["cameras"].values():
            camera.pop("width")
            camera.pop("height")
    flatten_into(got, want, "")


def flatten_into(got, want, where) -> None:
    if isinstance(want, dict):
        assert got.keys() == want.keys(), where
        for key in want:
            flatten_into(got[key], want[key], f"{where}.{key}")
    elif isinstance(want, list):
        assert len(got) == len(want), where
        for i, value in enumerate(want):
            flatten_into(got[i], value, f"{where}[{i}]")
    elif isinstance(want, float):
        assert got == pytest.approx(want, abs=1e-6), where  # float seconds of 2018 resolve a quarter of a microsecond
    else:
        assert got == want, where


@pytest.mark.parametrize("convention", ["lwh", "wlh"])
def test_v1_0_says_the_same_as_the_tables(infos, save, convention):
    path = save({"infos": [as_v1_0(info, convention) for info in infos], "metadata": {"version": "v1.0-mini"}})
    read = open_infos(path, box_convention=convention)
    assert len(read) == len(infos)
    for got, want in zip(read, infos, strict=True):
        assert_same_keyframe(got, want)


def test_v1_1_says_the_same_as_the_tables(infos, save):
    read = open_infos(save({"data_list": [as_v1_1(info) for info in infos], "metainfo": META_V1_1}))
    for got, want in zip(read, infos, strict=True):
        assert_same_keyframe(got, want)


def many_vehicles(infos) -> list[Info]:
    return [*infos] * 2  # four cars, enough to see which size is the length


@pytest.mark.parametrize("convention", ["lwh", "wlh"])
def test_proportions_decide_where_the_file_does_not_say(infos, save, convention):
    path = save({"infos": [as_v1_0(info, convention) for info in many_vehicles(infos)], "metadata": {}})
    read = open_infos(path)
    assert read.box_convention == convention
    assert_same_keyframe(read[0], infos[0])


def test_a_wrong_convention_is_refused(infos, save):
    path = save({"infos": [as_v1_0(info, "wlh") for info in many_vehicles(infos)]})
    with pytest.raises(DataError, match="of 4 vehicles 0 are longer in the first size.*box_convention='wlh'"):
        open_infos(path, box_convention="lwh")
    with pytest.raises(DataError, match="Box convention 'xyz' is not known"):
        open_infos(path, box_convention="xyz")


def test_an_undecidable_convention_is_refused(infos, save):
    path = save({"infos": [as_v1_0(info, "lwh") for info in infos]})
    with pytest.raises(DataError, match=r"does not say whether its boxes are 'lwh' or 'wlh'.*pass box_convention"):
        open_infos(path)


def test_a_test_split_has_no_boxes(infos, save):
    record = {
        key: value for key, value in as_v1_0(infos[0], "lwh").items() if not key.startswith(("gt_", "num_", "valid"))
    }
    assert len(open_infos(save({"infos": [record]}))[0].gt) == 0


def test_objects_outside_the_ten_classes_are_left_out(infos, save):
    v1_1 = as_v1_1(infos[0])
    v1_1["instances"][0]["bbox_label_3d"] = -1
    assert open_infos(save({"data_list": [v1_1], "metainfo": META_V1_1}))[0].gt.labels.tolist() == [5]
    v1_0 = as_v1_0(infos[0], "lwh")
    v1_0["gt_names"] = np.array(["animal", "barrier"])
    assert open_infos(save({"infos": [v1_0]}), "lwh")[0].gt.labels.tolist() == [5]


def test_unknown_velocity_stays_unknown(infos, save):
    read = open_infos(save({"data_list": [as_v1_1(info) for info in infos], "metainfo": META_V1_1}))
    assert np.isnan(read[0].gt.boxes[1, 7:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("ego2global"), "keyframe 0: field 'ego2global' is missing"),
        (lambda r: r["images"]["CAM_BACK"].pop("lidar2cam"), "field 'lidar2cam' is missing"),
        (lambda r: r["images"].pop("CAM_BACK"), r"field 'cameras\.CAM_BACK' is missing"),
        (lambda r: r["images"]["CAM_BACK"]["lidar2cam"][0].__setitem__(0, 2.0), "lidar2cam' is no rigid transform"),
        (lambda r: r["instances"][0]["bbox_3d"].pop(), "keyframe 0: "),
        (lambda r: r["instances"][0].__setitem__("bbox_label_3d", 10), "keyframe 0: "),
    ],
)
def test_wrong_fields_are_named(infos, save, change, message):
    record = copy.deepcopy(as_v1_1(infos[0]))
    change(record)
    path = save({"data_list": [record], "metainfo": META_V1_1})
    with pytest.raises(DataError, match=message) as error:
        open_infos(path)[0]
    assert str(error.value).count(f"{path}, keyframe 0: ") == 1


def test_not_an_info_pickle(save):
    with pytest.raises(DataError, match=r"infos\.pkl is no mmdet3d info file"):
        open_infos(save([1, 2]))
    with pytest.raises(DataError, match="does not name its classes"):
        open_infos(save({"data_list": [], "metainfo": {}}))


def test_the_old_boxes_of_mmdet3ds_own_fixture(shared_dir):
    """Format 1.1 without `info_version`, holding wlh boxes: taken at face value, cars would be wider than long."""
    infos = open_infos(shared_dir / "data/mmdet3d/tests/data/nuscenes/nus_info.pkl")
    assert infos.box_convention == "wlh"
    car = infos[1].gt.boxes[0]
    np.testing.assert_allclose(car[3:6], [4.257, 1.726, 1.489])
    assert car[6] == pytest.approx(np.arctan2(car[8], car[7]), abs=0.05)  # it drives where it points
    assert infos[1].sweeps[0].age == pytest.approx(0.1, abs=1e-3)


def test_classes_that_are_all_minus_one_do_not_shift_the_others(infos, save):
    """What mmdet3d's tool makes of tables with animals and debris."""
    meta = {**META_V1_1, "categories": {**META_V1_1["categories"], "animal": -1, "movable_object.debris": -1}}
    read = open_infos(save({"data_list": [as_v1_1(info) for info in infos], "metainfo": meta}))
    assert [info.gt.labels.tolist() for info in read] == [[0, 5], [0]]


def test_labels_with_a_gap_are_refused(save):
    with pytest.raises(DataError, match=r"the labels of 'categories' are \[0, 2\], not 0 to 1"):
        open_infos(save({"data_list": [], "metainfo": {"categories": {"car": 0, "truck": 2}}}))


@pytest.mark.parametrize("scene", ["scene_name", "scene_token"])
def test_links_are_read_where_they_are_whole(infos, save, scene):
    """BEVFormer and its descendants add `prev`, `next` and `scene_token`."""
    records = [as_v1_1(info) for info in infos]
    for record, info in zip(records, infos, strict=True):
        record.update({scene: "a", "prev": info.prev, "next": info.next})
    read = open_infos(save({"data_list": records, "metainfo": META_V1_1}))
    assert [(info.scene, info.prev, info.next) for info in read] == [("a", "", "sample1"), ("a", "sample0", "")]
    for record in records:
        record.pop("prev")
    read = open_infos(save({"data_list": records, "metainfo": META_V1_1}))
    assert {(info.scene, info.prev, info.next) for info in read} == {("", "", "")}


def test_an_unknown_attribute_is_refused(infos, save):
    record = as_v1_1(infos[0])
    record["instances"][0]["attr_label"] = 9
    with pytest.raises(DataError, match="keyframe 0: attr_label is 9, not a number from 0 to 8"):
        open_infos(save({"data_list": [record], "metainfo": META_V1_1}))[0]


def test_ages_are_whole_microseconds(infos, save):
    """Seconds since 1970 as floats are a quarter of a microsecond off; the tables count whole ones."""
    later = 1_533_201_470.448696
    records = [as_v1_1(infos[1])]
    records[0]["timestamp"] = later
    for number, sweep in enumerate(records[0]["lidar_sweeps"], start=1):
        sweep["timestamp"] = round(later - 0.05 * number, 6)
    read = open_infos(save({"data_list": records, "metainfo": META_V1_1}))[0]
    assert [sweep.age for sweep in read.sweeps] == [0.05, 0.1, 0.15, 0.2, 0.25]
