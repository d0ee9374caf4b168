"""What a user sees after a mistake: one sentence with the file, the field and the remedy, exit code 2, nothing left."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aqr_core.checkpoint import read_weights
from aqr_core.infos import open_infos
from aqr_eval.cli import main as aqr_eval
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.checkpoints import find_checkpoint
from aqr_train.cli import main as aqr

VERSION = "v1.0-mini"
# Of the smallest shipped model what makes a step short, and no validation.
OPTIONS = [
    "data.train.infos=infos_mini_train.jsonl",
    "data.val.infos=infos_mini_val.jsonl",
    "data.batch_size=1",
    "data.num_workers=0",
    "data.train.pipeline.1.sweeps_num=1",
    "model.pts_bbox_head.num_query=20",
    "train.max_steps=2",
    "train.val_every=None",
]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two scenes of six keyframes with their infos; never written to."""
    root = tmp_path_factory.mktemp("synthetic") / "data"
    assert aqr(["synth", "--out", str(root), "--scenes", "2", "--seed", "3", "--workers", "1"]) == 0
    assert aqr(prepare(root)) == 0
    return root


@pytest.fixture(scope="module")
def run_folder(source, tmp_path_factory):
    """A finished run on the sound data."""
    folder = tmp_path_factory.mktemp("run")
    assert aqr(train(source, folder)) == 0
    return folder


@pytest.fixture
def dataroot(source, tmp_path):
    """A copy by hard links: files are replaced in it, never changed (`replace`)."""
    return Path(shutil.copytree(source, tmp_path / "data", copy_function=os.link))


@pytest.fixture
def refused(tmp_path, capsys):
    """`refused(main, words, *names)`: the command fails as it should, and its one sentence holds every name."""

    def check(main, words, *names):
        before = contents(tmp_path)
        try:
            code = main([str(word) for word in words])
        except SystemExit as usage:  # argparse prints how the command is used, then its own sentence
            code = usage.code
        lines = capsys.readouterr().err.splitlines()
        assert code == 2
        assert sum("error: " in line or line.startswith("aqr-eval: ") for line in lines) == 1
        for name in names:
            assert str(name) in lines[-1]
        assert contents(tmp_path) == before

    return check


def contents(folder):
    return {path: path.stat().st_size for path in folder.rglob("*") if not path.is_dir()}


def replace(path, content):
    path.unlink()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def prepare(root, *more):
    return ["prepare", "--dataroot", str(root), "--version", VERSION, *more]


def train(root, work_dir, *options, config="cmt_tiny", more=()):
    words = ["train", config, "--work-dir", work_dir, *more, "--cfg-options", f"dataroot={root}", *OPTIONS, *options]
    return [str(word) for word in words]


def predict(root, checkpoint, out, *config, split="mini_val"):
    words = ["predict", *config, checkpoint, "--dataroot", root, "--split", split, "--out", out]
    return [str(word) for word in [*words, "--num-workers", "0"]]


def edit_rows(path, edit):
    """`edit` on the rows of a table, or on the lines of an infos file."""
    lines = path.suffix == ".jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if lines else json.loads(path.read_text())
    edit(rows)
    replace(path, "".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows))


def cut(path, keep=0.5):
    content = path.read_bytes()
    replace(path, content[: int(len(content) * keep)])


# Tables -------------------------------------------------------------------------------------------------------------


TABLES = {
    "missing": ("ego_pose", Path.unlink, ["ego_pose.json", "unpack"]),
    "cut": ("sample_data", cut, ["sample_data.json breaks off", "copy it again"]),
    "empty": ("sample", lambda path: replace(path, ""), ["sample.json breaks off"]),
    "no text": ("category", lambda path: replace(path, b"\xff\xfe\x00"), ["category.json", "copy it again"]),
    "field": ("scene", lambda path: edit_rows(path, lambda rows: rows[1].pop("name")), ["scene.json: row 1", "'name'"]),
    "NaN size": (
        "sample_annotation",
        lambda path: edit_rows(path, lambda rows: rows[0].update(size=[1, float("nan"), 1])),
        ["sample_annotation.json", "size", "not finite"],
    ),
    "flat size": (
        "sample_annotation",
        lambda path: edit_rows(path, lambda rows: rows[0].update(size=[1, 0, 1])),
        ["sample_annotation.json", "size", "not positive"],
    ),
    "NaN camera": (
        "calibrated_sensor",
        lambda path: edit_rows(
            path, lambda rows: [row.update(camera_intrinsic=np.full((3, 3), np.nan).tolist()) for row in rows]
        ),
        [VERSION, "cameras.CAM_FRONT.cam2img", "repair"],
    ),
}


@pytest.mark.parametrize(("table", "damage", "names"), TABLES.values(), ids=TABLES)
def test_broken_table(table, damage, names, dataroot, refused):
    (dataroot / "infos_mini_train.jsonl").unlink()
    damage(dataroot / VERSION / f"{table}.json")
    refused(aqr, prepare(dataroot), *names)


def test_prepare_refuses_what_is_not_there(dataroot, refused):
    refused(aqr, prepare(dataroot, "--splits", "valid"), "'valid'", "mini_val")
    refused(aqr, prepare(dataroot, "--splits", "val"), "'val'", "mini_val")
    refused(aqr, prepare(dataroot, "--max-sweeps", "-1"), "max_sweeps is -1")
    refused(aqr, prepare(dataroot / "nowhere"), "nowhere", "dataroot")
    refused(aqr, ["prepare", "--version", VERSION], "--dataroot")
    image = next((dataroot / "samples" / "CAM_FRONT").iterdir())
    image.unlink()
    refused(aqr, prepare(dataroot), image.name, "--allow-missing")


def test_output_folder_that_is_a_file(dataroot, tmp_path, refused):
    (tmp_path / "file").touch()
    refused(aqr, prepare(dataroot, "--out-dir", str(tmp_path / "file")), tmp_path / "file", "check the path")
    refused(aqr, train(dataroot, tmp_path / "file"), tmp_path / "file", "check the path")
    refused(aqr, synth(tmp_path / "file" / "data"), tmp_path / "file", "check the path")


def test_interrupted_prepare_goes_on_where_it_stopped(dataroot, monkeypatch, capsys):
    from aqr_core.infos import build

    infos = dataroot / "infos_mini_val.jsonl"
    expected = infos.read_bytes()
    infos.unlink()
    seen = []

    def third_time_interrupted(keyframe):
        seen.append(keyframe.token)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return convert(keyframe)

    convert = build.keyframe_to_info
    monkeypatch.setattr(build, "keyframe_to_info", third_time_interrupted)
    assert aqr(prepare(dataroot)) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert not infos.exists()

    assert aqr(prepare(dataroot)) == 0
    assert infos.read_bytes() == expected
    assert len(seen) == 3 + 4, "the two keyframes that were done are not done again"
    assert not list(dataroot.glob("*.partial"))


# Sensor files -------------------------------------------------------------------------------------------------------


def with_nan(path):
    points = np.fromfile(path, "<f4")
    points[7] = np.nan
    replace(path, points.tobytes())


SENSOR_FILES = {
    "cut image": ("samples/CAM_BACK", cut, ["JPEG without an end", "copy it again"]),
    "no image": ("samples/CAM_BACK", lambda path: replace(path, "text"), ["no image", "copy it again"]),
    "lost image": ("samples/CAM_BACK", Path.unlink, ["does not exist", "aqr prepare"]),
    "odd points": ("samples/LIDAR_TOP", lambda path: replace(path, bytes(43)), ["43 bytes", "multiple of 20"]),
    "NaN points": ("samples/LIDAR_TOP", with_nan, ["1 of", "NaN", "copy the file again"]),
    "odd sweep": ("sweeps/LIDAR_TOP", lambda path: replace(path, bytes(43)), ["43 bytes", "multiple of 20"]),
}


@pytest.mark.parametrize(("folder", "damage", "names"), SENSOR_FILES.values(), ids=SENSOR_FILES)
def test_broken_sensor_file(folder, damage, names, dataroot, run_folder, tmp_path, refused):
    for path in (dataroot / folder).iterdir():
        damage(path)
    refused(aqr, predict(dataroot, run_folder, tmp_path / "out"), dataroot / folder, *names)


def test_broken_image_ends_training(dataroot, tmp_path, capsys):
    """The run has started, so its folder keeps the log, and no checkpoint."""
    for path in (dataroot / "samples" / "CAM_FRONT").iterdir():
        cut(path)
    assert aqr(train(dataroot, tmp_path / "run")) == 2
    assert "JPEG without an end" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run" / "checkpoints").exists()


# Infos --------------------------------------------------------------------------------------------------------------


class Malicious:
    """A pickle that makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def in_first(edit):
    return lambda path: edit_rows(path, lambda rows: edit(rows[1]))


def in_header(**fields):
    return lambda path: edit_rows(path, lambda rows: rows[0].update(fields))


INFOS = {
    "label -1": (in_first(lambda info: info["gt"]["labels"].__setitem__(0, -1)), [":2:", "gt.labels", "-1"]),
    "scaled pose": (
        in_first(lambda info: info["cameras"]["CAM_BACK"]["lidar2cam"][0].__setitem__(0, 5.0)),
        [":2:", "cameras.CAM_BACK.lidar2cam", "no rigid transform"],
    ),
    "mirrored camera": (
        in_first(lambda info: info["cameras"]["CAM_BACK"]["cam2img"][0].__setitem__(0, -300.0)),
        [":2:", "cameras.CAM_BACK.cam2img"],
    ),
    "missing camera": (in_first(lambda info: info["cameras"].pop("CAM_BACK")), [":2:", "cameras.CAM_BACK"]),
    "other version": (in_header(version=7), [":1:", "header.version", "7"]),
    "other format": (in_header(format="table"), [":1:", "header.format"]),
    "no cameras": (in_header(cameras=[]), [":1:", "header.cameras"]),
    "no keyframe": (lambda path: edit_rows(path, lambda rows: rows.__delitem__(slice(1, None))), ["no keyframe"]),
    "cut": (lambda path: cut(path, 0.9), ["the middle of a record"]),
    "empty": (lambda path: replace(path, ""), [":1:"]),
    "missing": (Path.unlink, ["does not exist"]),
}


@pytest.mark.parametrize(("damage", "names"), INFOS.values(), ids=INFOS)
def test_broken_infos(damage, names, dataroot, run_folder, tmp_path, refused):
    infos = dataroot / "infos_mini_val.jsonl"
    damage(infos)
    refused(aqr, predict(dataroot, run_folder, tmp_path / "out"), infos, "aqr prepare", *names)


def test_malicious_pickles_are_not_run(dataroot, run_folder, tmp_path, refused):
    trap = tmp_path / "trap"
    infos = dataroot / "infos_mini_val.jsonl"
    replace(infos, pickle.dumps({"infos": [Malicious(trap)]}))
    refused(aqr, predict(dataroot, run_folder, tmp_path / "out"), infos, "only plain containers and numpy")
    weights = tmp_path / "weights.pth"
    for save in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
        save({"state_dict": Malicious(trap)}, weights)
        refused(aqr, train(dataroot, tmp_path / "run", f"load_from={weights}"), weights, "refused")
    assert not trap.exists()


def test_split_that_was_not_prepared(source, run_folder, tmp_path, refused):
    words = predict(source, run_folder, tmp_path / "out", split="valid")
    refused(aqr, words, source / "infos_valid.jsonl", "aqr prepare")


# Configs ------------------------------------------------------------------------------------------------------------


OVERRIDES = {
    "unknown key": ("train.max_step=5", ["train.max_step", "Did you mean 'max_steps'"]),
    "unknown argument": ("model.grid_mask=True", ["model.grid_mask", "use_grid_mask"]),
    "no value": ("train.max_steps", ["train.max_steps", "a.b=value"]),
    "half a step": ("train.max_steps=2.5", ["train.max_steps is 2.5", "whole number"]),
    "word": ("train.max_steps=many", ["train.max_steps", "many"]),
}


@pytest.mark.parametrize(("override", "names"), OVERRIDES.values(), ids=OVERRIDES)
def test_broken_override(override, names, source, tmp_path, refused):
    refused(aqr, train(source, tmp_path / "run", override), *names)


def test_broken_config(source, tmp_path, refused):
    refused(aqr, train(source, tmp_path / "run", config="cmt_tinny"), "cmt_tinny", "Did you mean 'cmt_tiny'")
    refused(aqr, ["train", "cmt_tiny"], "--work-dir")
    config = tmp_path / "own.py"
    config.write_text("modle = dict()\n")
    refused(aqr, ["train", config, "--work-dir", tmp_path / "run"], config, "'modle'", "Did you mean 'model'")
    config.write_text("model = dict(\n")
    refused(aqr, ["train", config, "--work-dir", tmp_path / "run"], config, "line 1")


# Checkpoints --------------------------------------------------------------------------------------------------------


def test_resume_from_a_folder_without_checkpoint(source, tmp_path, refused):
    refused(aqr, train(source, tmp_path / "run", more=["--resume"]), tmp_path / "run", "leave out --resume")
    refused(aqr, train(source, tmp_path / "run", more=["--resume", tmp_path]), tmp_path, "choose another")


def test_weights_of_another_model(source, run_folder, tmp_path, refused):
    out = tmp_path / "out"
    refused(aqr, predict(source, run_folder, out, "cmt_aqr_tiny_scratch"), run_folder, "does not fit", "its own config")
    other = tmp_path / "other.safetensors"
    save_file({"linear.weight": torch.zeros(2)}, other)
    refused(aqr, predict(source, other, out, "cmt_tiny"), other, "linear.weight", "another model")
    refused(aqr, predict(source, other, out), other, "config.py")
    refused(aqr, train(source, tmp_path / "run", f"load_from={other}"), other, "another model")


def test_weights_that_fit_in_part(source, run_folder, tmp_path, refused):
    weights = read_weights(find_checkpoint(run_folder))
    weights["img_neck.lateral_convs.0.conv.wieght"] = weights.pop("img_neck.lateral_convs.0.conv.weight")
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "renamed.pth")
    names = ["missing: img_neck.lateral_convs.0.conv.weight", "wieght (did you mean"]
    for words in (
        train(source, tmp_path / "run", f"load_from={tmp_path / 'renamed.pth'}"),
        predict(source, tmp_path / "renamed.pth", tmp_path / "out", find_checkpoint(run_folder) / "config.py"),
    ):
        refused(aqr, words, tmp_path / "renamed.pth", *names)


def test_weights_of_another_geometry(source, run_folder, tmp_path, refused):
    narrow = "model.pts_bbox_head.bbox_coder.pc_range=[-32.0,-32.0,-5.0,32.0,31.0,3.0]"
    words = train(source, tmp_path / "run", f"load_from={run_folder}", narrow)
    refused(aqr, words, "trained with range x -32..32, y -32..32", "y -32..31", "use its own config", "config.py")


@pytest.mark.parametrize("content", [b"", b"text that is no tensor", bytes(2000)], ids=["empty", "text", "zeros"])
def test_damaged_weights(content, source, tmp_path, refused):
    for name in ("model.safetensors", "model.pth"):
        weights = tmp_path / name
        weights.write_bytes(content)
        refused(aqr, predict(source, weights, tmp_path / "out", "cmt_tiny"), weights, "damaged", "another")


def test_damaged_run_folder(source, run_folder, tmp_path, refused):
    folder = Path(shutil.copytree(run_folder, tmp_path / "run", copy_function=os.link))
    checkpoint = next((folder / "checkpoints").glob("step_*"))
    resume = train(source, folder, more=["--resume"])
    state = checkpoint / "trainer" / "state.pt"

    replace(state, b"text that is no state")
    refused(aqr, resume, state, "checksum is not the one in SHA256SUMS", "no other checkpoint of this run is whole")
    (checkpoint / "SHA256SUMS").unlink()  # as of a release that wrote none
    refused(aqr, resume, state, "damaged")
    replace(state, b"")
    torch.save({"position": {}}, state)
    refused(aqr, resume, state, "optimizer", "older checkpoint")

    cut(checkpoint / "model.safetensors")
    out = tmp_path / "out"
    refused(aqr, predict(source, folder, out), checkpoint / "model.safetensors", "damaged", "another copy")

    for name in ("step_9", "", b"\xff"):
        replace(folder / "checkpoints" / "latest", name)
        refused(aqr, predict(source, folder, out), folder / "checkpoints" / "latest", "no complete checkpoint")


def test_folder_of_results_that_is_a_file(source, run_folder, tmp_path, refused):
    file = tmp_path / "file"
    file.write_text("")
    refused(aqr, predict(source, run_folder, file), f"--out {file} is a file", "name the folder")
    named = tmp_path / "results.json"
    refused(aqr, predict(source, run_folder, named), f"--out {named} is called like a file", "name the folder")
    unknown = [*predict(source, run_folder, tmp_path / "out"), "--precision", "fp8"]
    refused(aqr, unknown, "--precision", "'fp8'", "fp16")


# Synthetic data -----------------------------------------------------------------------------------------------------


def synth(out, *more):
    return ["synth", "--out", str(out), "--scenes", "1", "--workers", "1", *more]


def test_synth_refuses(dataroot, tmp_path, refused):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("important")
    refused(aqr, synth(tmp_path / "own"), tmp_path / "own", "choose another folder")
    refused(aqr, synth(dataroot), dataroot, "scenes, seed", "choose another folder")
    refused(aqr, synth(tmp_path / "new", "--preset", "huge"), "'huge'", "tiny, mini, full")
    refused(aqr, synth(tmp_path / "new", "--scenes", "0"), "0 scenes")


# Results files and reports ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokens(source):
    return [info.token for info in open_infos(source / "infos_mini_val.jsonl")]


def results(tokens, *boxes):
    return {"meta": {}, "results": {token: [] for token in tokens[1:]} | {tokens[0]: list(boxes)}}


def box(tokens, **fields):
    return {
        "sample_token": tokens[0],
        "translation": [0, 0, 0],
        "size": [1, 1, 1],
        "rotation": [1, 0, 0, 0],
        "velocity": [0, 0],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "",
    } | fields


def without(record, name):
    return {key: value for key, value in record.items() if key != name}


RESULTS = {
    "missing field": (lambda t: results(t, without(box(t), "size")), ["box 0", "size"]),
    "unknown class": (lambda t: results(t, box(t, detection_name="tank")), ["box 0", "tank", "car"]),
    "501 boxes": (lambda t: results(t, *[box(t)] * 501), ["501", "500"]),
    "missing sample": (lambda t: results(t[:-1]), ["1 missing", "one list per sample"]),
    "foreign sample": (lambda t: results([*t, "other"]), ["1 extra ('other')"]),
    "NaN centre": (lambda t: results(t, box(t, translation=[0, float("nan"), 0])), ["translation", "nan"]),
    "no results": (lambda t: {"meta": {}}, ["'results'"]),
}


@pytest.mark.parametrize(("content", "names"), RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_broken_results(command, content, names, source, tokens, tmp_path, refused):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content(tokens)))
    refused(aqr_eval, on_val(command, source, path), path, *names)


def test_results_that_are_not_there_or_cut(source, tokens, tmp_path, refused):
    path = tmp_path / "results.json"
    refused(aqr_eval, on_val("score", source, path), path, "does not exist")
    path.write_text(json.dumps(results(tokens))[:-20])
    refused(aqr_eval, on_val("score", source, path), path, "breaks off")
    path.write_text(json.dumps(results(tokens)))
    refused(aqr_eval, on_val("score", source, path, split="valid"), "'valid'", "mini_val")
    refused(aqr_eval, ["score", "--submission", path], "--dataroot")
    refused(aqr_eval, [*on_val("score", source, path), "--out", tmp_path], tmp_path, "check the path")


def test_report_without_its_files(dataroot, tokens, tmp_path, refused):
    path, page = tmp_path / "results.json", tmp_path / "report.html"
    path.write_text(json.dumps(results(tokens)))
    report = [*on_val("report", dataroot, path), "--out", page, "--samples", "1"]
    refused(aqr_eval, [*report, "--scalars", tmp_path / "scalars.jsonl"], tmp_path / "scalars.jsonl")
    for image in (dataroot / "samples" / "CAM_FRONT").iterdir():
        image.unlink()
    refused(aqr_eval, report, dataroot / "samples" / "CAM_FRONT", "is missing", "--samples 0")


def on_val(command, root, results_file, split="mini_val"):
    return [command, "--dataroot", root, "--version", VERSION, "--split", split, "--submission", results_file]


# Unusual, and sound -------------------------------------------------------------------------------------------------


def empty_frames(root):
    for folder in ("samples", "sweeps"):
        for path in (root / folder / "LIDAR_TOP").iterdir():
            replace(path, b"")


def no_velocity(root):
    edit_all(root, lambda gt: [box.__setitem__(slice(7, 9), [None, None]) for box in gt["boxes"]])


def no_boxes(root):
    """In training such keyframes are left out, unless none has boxes; the augmented last one has none in range."""
    edit_rows(root / "infos_mini_val.jsonl", lambda rows: [clear(row["gt"]) for row in rows[1:]])
    edit_rows(root / "infos_mini_train.jsonl", lambda rows: [clear(row["gt"]) for row in rows[1:-1]])
    edit_rows(root / "infos_mini_train.jsonl", lambda rows: [far_away(box) for box in rows[-1]["gt"]["boxes"]])


def edit_all(root, edit):
    for split in ("mini_train", "mini_val"):
        edit_rows(root / f"infos_{split}.jsonl", lambda rows: [edit(row["gt"]) for row in rows[1:]])


def clear(gt):
    gt.update({name: [] for name in gt})


def far_away(box):
    box[0] += 500.0


def ignored_labels(root):
    """Infos as mmdet3d 1.1 writes them: objects of no detection class carry the label -1."""
    for split in ("mini_train", "mini_val"):
        path = root / f"infos_{split}.jsonl"
        frames = [mmdet3d_frame(json.loads(line)) for line in path.read_text().splitlines()[1:]]
        categories = {name: label for label, name in enumerate(DETECTION_CLASSES)}
        meta = {"categories": categories, "version": VERSION, "info_version": "1.1"}
        replace(path, pickle.dumps({"metainfo": meta, "data_list": frames}))


def mmdet3d_frame(info):
    gt = info["gt"]
    return {
        "token": info["token"],
        "timestamp": info["timestamp"],
        "ego2global": info["ego2global"],
        "lidar_points": {"lidar_path": info["lidar"]["path"], "lidar2ego": info["lidar"]["lidar2ego"]},
        "images": {
            name: {"img_path": camera["path"], **{k: camera[k] for k in ("timestamp", "cam2img", "lidar2cam")}}
            for name, camera in info["cameras"].items()
        },
        "instances": [
            {
                "bbox_3d": gt["boxes"][i][:7],
                "bbox_label_3d": label if i else -1,
                "velocity": gt["boxes"][i][7:],
                "num_lidar_pts": gt["num_lidar_pts"][i],
                "num_radar_pts": 0,
                "bbox_3d_isvalid": gt["valid"][i],
            }
            for i, label in enumerate(gt["labels"])
        ],
    }


@pytest.mark.parametrize("change", [empty_frames, no_velocity, no_boxes, ignored_labels])
def test_unusual_data_is_trained_and_predicted_on(change, dataroot, run_folder, tokens, tmp_path):
    change(dataroot)
    assert aqr(train(dataroot, tmp_path / "run")) == 0
    lines = (tmp_path / "run" / "scalars.jsonl").read_text().splitlines()
    assert all(np.isfinite(json.loads(line)["train/loss"]) for line in lines)
    assert aqr(predict(dataroot, tmp_path / "run", tmp_path / "out")) == 0
    assert list(json.loads((tmp_path / "out" / "submission.json").read_text())["results"]) == tokens
