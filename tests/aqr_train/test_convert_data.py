"""`aqr convert-infos` and `aqr convert-database` as they are called."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from aqr_core.data import NuScenesDataset
from aqr_core.data.database import ObjectDatabase
from aqr_core.errors import DataError
from aqr_core.infos import open_infos
from aqr_core.synth import generate
from aqr_eval import load_ground_truth, load_submission
from aqr_eval.cli import main as aqr_eval
from aqr_train.cli import main
from aqr_train.truth import ground_truth_of

VERSION = "v1.0-mini"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared scene for training and one for validation, and both kinds of theirs made from it."""
    root = tmp_path_factory.mktemp("convert") / "data"
    generate(root, 2, 1, workers=1, keyframes=2)
    assert main(["prepare", "--dataroot", str(root), "--version", VERSION, "--gt-database", "--workers", "1"]) == 0
    for split in ("train", "val"):
        source, out = root / f"infos_mini_{split}.jsonl", root / f"nuscenes_infos_{split}.pkl"
        assert main(["convert-infos", str(source), "--out", str(out)]) == 0
    database, out = root / "gt_database_mini_train", root / "nuscenes_dbinfos_train.pkl"
    assert main(["convert-database", str(database), "--out", str(out)]) == 0
    return root


def test_infos_tell_what_was_lost(root, tmp_path, capsys):
    assert main(["convert-infos", str(root / "infos_mini_val.jsonl"), "--out", str(tmp_path / "x.pkl")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'x.pkl'}: 2 keyframes."
    assert second.startswith("Left behind: the tracks of ") and second.endswith(" boxes.")
    assert main(["convert-infos", str(tmp_path / "x.pkl"), "--out", str(tmp_path / "x.jsonl")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.jsonl'}: 2 keyframes.\n"
    assert open_infos(tmp_path / "x.jsonl").header.split == "mini_val"


def test_databases_tell_what_was_lost(root, tmp_path, capsys):
    assert main(["convert-database", str(root / "nuscenes_dbinfos_train.pkl"), "--out", str(tmp_path / "ours")]) == 0
    first, second = capsys.readouterr().out.splitlines()
    count = len(ObjectDatabase.open(root / "gt_database_mini_train"))
    assert first == f"{tmp_path / 'ours'}: {count} objects."
    assert second == "Left behind: the numbers image_idx, gt_idx and group_id."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert-infos", "{root}/infos_mini_val.jsonl", "--out", "{tmp}/x.txt"], "ends in neither .jsonl"),
        (["convert-infos", "{root}/no.pkl", "--out", "{tmp}/x.jsonl"], "no.pkl does not exist"),
        (["convert-infos", "{root}/infos_mini_val.jsonl", "--out", "{tmp}/file/x.pkl"], "file cannot be used"),
        (["convert-database", "{root}/gt_database_mini_train", "--out", "{tmp}/x.pkl"], "NAME_dbinfos_SPLIT.pkl"),
        (["convert-database", "{root}/infos_mini_val.jsonl", "--out", "{tmp}/x"], "is no complete pickle"),
        (["convert-database", "{root}/nuscenes_infos_val.pkl", "--out", "{tmp}/x"], "is no object database"),
    ],
)
def test_mistakes_are_one_sentence(root, tmp_path, capsys, arguments, message):
    (tmp_path / "file").touch()
    assert main([word.format(root=root, tmp=tmp_path) for word in arguments]) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def as_created(source: Path, out: Path) -> None:
    """Their infos without what only our writer puts in: what `create_data.py` leaves behind."""
    content = pickle.loads(source.read_bytes())
    for key in ("split", "max_sweeps"):
        content["metainfo"].pop(key)
    for record in content["data_list"]:
        for key in ("scene_name", "prev", "next"):
            record.pop(key)
        for part in (*record["images"].values(), *record["instances"]):
            for key in ("width", "height", "attr_label"):
                part.pop(key, None)
    out.write_bytes(pickle.dumps(content))


@pytest.mark.slow
def test_their_infos_and_objects_train_predict_and_score(root, tmp_path, caplog):
    """Their names in the config and nothing else."""
    for split in ("train", "val"):
        as_created(root / f"nuscenes_infos_{split}.pkl", root / f"created_{split}.pkl")
    options = [
        f"dataroot={root}",
        "data.train.infos=created_train.pkl",
        "data.val.infos=created_val.pkl",
        "data.train.class_balanced=True",
        "data.num_workers=0",
        "data.batch_size=1",
        "train.max_steps=1",
    ]
    work_dir, out = tmp_path / "run", tmp_path / "out"
    assert main(["train", "cmt_aqr_tiny_scratch", "--work-dir", str(work_dir), "--cfg-options", *options]) == 0
    assert "scoring against the boxes" not in caplog.text  # the tables are there, and know the samples
    assert main(["predict", str(work_dir), "--out", str(out)]) == 0
    submission = load_submission(out / "submission.json")
    assert list(submission.tokens) == open_infos(root / "infos_mini_val.jsonl").tokens()
    named = tmp_path / "infos_mini_val.jsonl"
    assert main(["convert-infos", str(root / "created_val.pkl"), "--out", str(named), "--split", "mini_val"]) == 0
    assert aqr_eval(["score", str(out / "submission.json"), "--gt", str(named)]) == 0


def test_their_infos_are_scored_against_the_tables(root, tmp_path, caplog):
    """Their samples lead to the split; without tables, what the infos lack is told."""
    as_created(root / "nuscenes_infos_val.pkl", tmp_path / "created.pkl")
    theirs = open_infos(tmp_path / "created.pkl")
    truth, tables = ground_truth_of(theirs, root), load_ground_truth(root, VERSION, "mini_val")
    assert truth.tokens == tables.tokens and truth.scenes == tables.scenes
    for name, column in vars(tables.boxes).items():
        np.testing.assert_array_equal(getattr(truth.boxes, name), column)
    with caplog.at_level("INFO"):
        alone = ground_truth_of(theirs, tmp_path)
    assert f"No tables below {tmp_path} tell the split of these keyframes" in caplog.text
    assert "names no attributes: AAE is 1, the worst, which takes up to 0.1 off NDS." in caplog.text
    assert len(alone.boxes) == len(tables.boxes) and alone.scenes == ()


def test_a_failure_in_time_needs_links(root, tmp_path):
    as_created(root / "nuscenes_infos_val.pkl", tmp_path / "created.pkl")
    steps = [dict(type="StuckLidar", probability=1.0), dict(type="LoadPointsFromFile")]
    stuck = NuScenesDataset(root, root / "nuscenes_infos_val.pkl", steps, test_mode=True)
    assert stuck[1].points.equal(stuck[0].points)
    with pytest.raises(DataError, match="does not say which keyframe comes before .* build infos with `aqr prepare`"):
        NuScenesDataset(root, tmp_path / "created.pkl", steps, test_mode=True)[1]


def test_ground_truth_of_a_pickle_is_refused_with_the_way_to_it(root, tmp_path, capsys):
    submission = tmp_path / "submission.json"
    submission.write_text('{"meta": {}, "results": {}}')
    assert aqr_eval(["score", str(submission), "--gt", str(root / "nuscenes_infos_val.pkl")]) == 2
    told = capsys.readouterr().err
    assert "is a pickle, which is not opened here: give the infos that `aqr convert-infos " in told
