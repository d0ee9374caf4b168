"""Curves of runs: which panels, which names, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aqr_core.errors import ConfigError
from aqr_train.cli import main
from aqr_train.pictures.curve_panels import find_panels
from aqr_train.pictures.curves import RUN_COLORS, draw_curves
from aqr_train.pictures.run import run_names


def series(*values: float) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(1.0, len(values) + 1), np.array(values)


RUN = {
    "train/loss": series(4.0, 2.0),
    "train/loss_cls": series(1.0, 0.5),
    "train/loss_cls/layer0": series(3.0, 1.5),
    "train/loss_mine": series(1.0, 1.0),
    "train/grad_norm": series(9.0, 8.0),
    "lr": series(1e-4, 2e-4),
    "lr/a.*": series(1e-5, 2e-5),
    "lr/b.*": series(1e-4, 2e-4),
    "lr/c": series(1e-5, 2e-5),
    "time/data_share": series(0.5, 0.25),
    "aqr/weight_lidar_mean": series(0.1, 0.2),
    "aqr/weight_camera_mean": series(0.3, 0.4),
}


def panels_of(*logs: dict) -> dict[str, dict[str, str]]:
    return {panel.title: panel.members for panel in find_panels({str(place): log for place, log in enumerate(logs)})}


def test_one_run_shows_layers_and_rates_of_groups() -> None:
    panels = panels_of(RUN)
    assert list(panels) == [
        "loss",
        "class loss",
        "loss_mine",
        "learning rate",
        "gradient norm before clipping",
        "AQR weight, mean",
        "waiting for data, % of a step",
    ]
    assert panels["class loss"] == {"last layer": "train/loss_cls", "layer 0": "train/loss_cls/layer0"}
    assert panels["learning rate"] == {"b.*": "lr/b.*", "a.* and 1 more": "lr/a.*"}  # the largest first


def test_several_runs_show_the_last_layer_and_the_largest_rate() -> None:
    panels = panels_of(RUN, {"train/loss": series(1.0), "val/mAP": series(0.5)})
    assert panels["class loss"] == {"last layer": "train/loss_cls"}
    assert panels["learning rate"] == {"": "lr"}
    assert panels["validation mAP"] == {"": "val/mAP"}


def test_runs_have_colours_and_a_legend() -> None:
    figure = draw_curves({"first": RUN, "second": {"train/loss": series(8.0, 1.0)}})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["first", "second"]
    loss, waiting = figure.axes[0], next(axes for axes in figure.axes if axes.get_title("left").startswith("waiting"))
    assert [line.get_color() for line in loss.lines] == list(RUN_COLORS[:2])
    assert loss.lines[1].get_ydata().tolist() == [8.0, 1.0]
    assert waiting.lines[0].get_ydata().tolist() == [50.0, 25.0]  # per cent


def test_a_noisy_curve_is_smoothed_and_a_spike_does_not_flatten_it() -> None:
    values = np.ones(200)
    values[100] = 1000.0
    figure = draw_curves({"run": {"train/loss": (np.arange(200.0), values)}})
    raw, mean = figure.axes[0].lines
    assert raw.get_ydata().max() == 1000.0 and raw.get_alpha() == 0.25
    assert mean.get_ydata()[100] == pytest.approx((10 + 1000) / 11)  # 5 % of 200: five on either side, and itself
    assert figure.axes[0].get_ylim()[1] < 100


def test_constant_and_zero_curves_draw() -> None:
    draw_curves({"run": {"train/loss": series(1.0, 1.0), "lr": series(0.0, 0.0), "time/data_share": series(0.0)}})


def test_names_are_as_long_as_needed(tmp_path: Path) -> None:
    folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert run_names(folders) == ["a/run", "b/run"]
    assert run_names(folders[:1]) == ["run"]
    with pytest.raises(ConfigError, match=r"run is given twice; name every run once\."):
        run_names([folders[0], folders[0]])


def test_a_real_run_is_drawn(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = train("run")
    assert main(["show", "run", str(folder)]) == 0
    assert str(folder / "curves.png") in capsys.readouterr().out
    with Image.open(folder / "curves.png") as image:
        assert image.width > 1000 and np.asarray(image).std() > 10
    out = folder / "both.png"
    assert main(["show", "run", str(folder), str(train("other")), "--out", str(out)]) == 0
    assert out.is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no scalars.jsonl; name the work dir of a training run."),
        ("", "holds nothing to draw yet; wait for the first line of the run's log."),
        ('{"step": 1, "mine": 2.0}', "holds nothing to draw yet"),
        ('{"step": 1, "train/loss": 2.0}\n{"st', "line 2 is not JSON"),
        ("[1]\n", "line 1 has no numeric `step`"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "scalars.jsonl").write_text(text)
    assert main(["show", "run", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not (tmp_path / "curves.png").exists()


def test_a_folder_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scalars.jsonl").write_text(json.dumps({"step": 1, "train/loss": 2.0}))
    assert main(["show", "run", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "is a folder; name a PNG file." in capsys.readouterr().err
