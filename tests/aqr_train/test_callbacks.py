"""What the callbacks do that the runs of the other tests do not show."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import write_text
from aqr_train.callbacks import AqrMonitor
from aqr_train.callbacks.logger import _keep_until


class BiasGenerator(nn.Module):
    """Just the scale of AQR v3."""

    max_scale = 5.0

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.bias_scale = nn.Parameter(torch.tensor(scale))

    @torch.no_grad()
    def clamp_scale_(self) -> None:
        self.bias_scale.clamp_(0.5, self.max_scale)


class Head(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.attention_bias_generator = BiasGenerator(scale)

    def aqr_scalars(self) -> dict[str, float]:
        weights = {f"weight_{name}_{kind}": 0.25 for name in ("lidar", "camera") for kind in ("mean", "std")}
        return {"bias_scale": float(self.attention_bias_generator.bias_scale.detach()), **weights, "prefer_lidar": 0.75}


def trainer_of(scale: float) -> SimpleNamespace:
    model = nn.Module()
    model.pts_bbox_head = Head(scale)
    recorded: list[dict[str, float]] = []
    return SimpleNamespace(
        plain_model=model,
        settings=SimpleNamespace(log_every=1),
        state=SimpleNamespace(step=1),
        is_due=lambda every: True,
        record=recorded.append,
        recorded=recorded,
    )


def test_the_scale_is_put_back_after_an_update() -> None:
    trainer = trainer_of(7.0)
    AqrMonitor().on_update(trainer)
    assert float(trainer.plain_model.pts_bbox_head.attention_bias_generator.bias_scale.detach()) == 5.0


@pytest.mark.parametrize(("scale", "warns"), [(4.4, False), (4.6, True)])
def test_figures_are_recorded_and_a_high_scale_is_warned_about(
    scale: float, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = trainer_of(scale)
    with caplog.at_level(logging.INFO):
        AqrMonitor().on_step_end(trainer, None)
    assert trainer.recorded[0]["aqr/bias_scale"] == pytest.approx(scale) and "aqr/prefer_lidar" in trainer.recorded[0]
    assert f"Bias scale {scale:.4f}" in caplog.text and "prefer LiDAR 75 %" in caplog.text
    assert ("lower max_scale" in caplog.text) == warns


def test_a_model_without_aqr_is_left_alone() -> None:
    trainer = trainer_of(1.0)
    trainer.plain_model = nn.Linear(1, 1)
    AqrMonitor().on_update(trainer)
    AqrMonitor().on_step_end(trainer, None)
    assert trainer.recorded == []


def test_later_and_torn_lines_of_a_log_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "scalars.jsonl"
    write_text(path, '{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    _keep_until(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
