"""`aqr show` and pictures during training, on two synthetic scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aqr_core.data.transforms import NormalizeMultiviewImage
from aqr_train.cli import main
from aqr_train.pictures.scene import ScenePixels

OPTIONS = [
    "data.train.infos=infos_mini_train.jsonl",
    "data.val.infos=infos_mini_val.jsonl",
    "data.num_workers=0",
    "data.batch_size=1",
    "train.max_steps=2",
    "train.log_every=1",
    "train.val_every=None",
]


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("show") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    return root


@pytest.fixture(scope="module")
def runs(dataroot: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same training with a picture after every step and without."""
    folder = tmp_path_factory.mktemp("runs")
    options = ["--cfg-options", f"dataroot={dataroot}", *OPTIONS]
    for name, every in (("with", "1"), ("without", "None")):
        run = ["train", "cmt_aqr_tiny_scratch", "--work-dir", str(folder / name), *options]
        assert main([*run, f"train.picture_every={every}"]) == 0
    return {name: folder / name for name in ("with", "without")}


def test_pictures_leave_the_training_as_it_is(runs: dict[str, Path]) -> None:
    """Dropout, batch-norm statistics and weights are those of the run without pictures, bit for bit."""
    first, second = (load_file(run / "checkpoints" / "step_0000002" / "model.safetensors") for run in runs.values())
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    losses = [
        [{k: v for k, v in json.loads(line).items() if not k.startswith(("time/", "memory/"))} for line in lines]
        for lines in ((run / "scalars.jsonl").read_text().splitlines() for run in runs.values())
    ]
    assert losses[0] == losses[1]


def test_tensorboard_gets_pictures_and_figures(runs: dict[str, Path]) -> None:
    boards = {name: EventAccumulator(str(run / "tensorboard"), {"images": 0}) for name, run in runs.items()}
    for board in boards.values():
        board.Reload()
        assert {"aqr/bias_scale", "aqr/weight_lidar_std", "aqr/prefer_camera"} <= set(board.Tags()["scalars"])
    assert [image.step for image in boards["with"].Images("aqr/weights")] == [1, 2]
    assert boards["without"].Tags()["images"] == []
    assert "Bias scale" in (runs["with"] / "log.txt").read_text()


def test_a_run_in_half_precision_draws_too(dataroot: Path, tmp_path: Path) -> None:
    options = [f"dataroot={dataroot}", *OPTIONS, "train.max_steps=1", "train.picture_every=1", "train.precision=bf16"]
    assert main(["train", "cmt_aqr_v2_tiny", "--work-dir", str(tmp_path / "run"), "--cfg-options", *options]) == 0
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"), {"images": 0})
    board.Reload()
    assert [image.step for image in board.Images("aqr/weights")] == [1]


def test_a_picture_per_keyframe(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pictures"
    words = ["show", "weights", "--checkpoint", str(runs["with"]), "--out", str(out)]
    assert main([*words, "--frame", "2", "0", "--queries", "7", "3"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["frame_0000.png", "frame_0002.png"]
    assert str(out / "frame_0002.png") in capsys.readouterr().out
    with Image.open(out / "frame_0000.png") as image:
        assert image.width > 1000 and np.asarray(image).std() > 10
    before = (out / "frame_0000.png").read_bytes()
    assert main([*words, "--frame", "0", "--without", "camera"]) == 0
    assert (out / "frame_0000.png").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frame", "99"], "--frame 99 is not in"),
        (["--sample", "nowhere"], "Sample 'nowhere' is not in"),
        (["--queries", "0", "100"], "--queries 100 is no query of this model; it has the queries 0 to 99."),
        (["--checkpoint", "cmt_tiny"], "has no AQR weights to show"),
    ],
)
def test_bad_input_is_one_sentence(
    dataroot: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words, message
) -> None:
    base = ["show", "weights", "--checkpoint", str(runs["with"]), "--out", str(tmp_path / "out")]
    options = ["--cfg-options", f"dataroot={dataroot}", "data.val.infos=infos_mini_val.jsonl"]
    assert main([*base, *words, *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "taken"
    out.write_text("mine")
    assert main(["show", "weights", "--checkpoint", str(runs["with"]), "--out", str(out)]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err and out.read_text() == "mine"


def test_normalised_images_become_photographs_again() -> None:
    """BGR 10, 20, 300 is RGB 255, 20, 10: what augmentation made brighter than white stays white."""
    step = NormalizeMultiviewImage()
    pixels = ScenePixels(step.mean, step.std, ("CAM_FRONT",))

    normalised = (torch.tensor([10.0, 20.0, 300.0]) - torch.from_numpy(step.mean)) / torch.from_numpy(step.std)
    restored = pixels.restore(normalised.view(1, 3, 1, 1).expand(1, 3, 2, 2))
    assert restored.shape == (1, 2, 2, 3) and restored[0, 0, 0].tolist() == [255, 20, 10]
