"""What the callbacks do that the runs of the other tests do not show."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import write_text
from aqr_core.models.aqr import WeightMaps
from aqr_train.callbacks import AqrMonitor
from aqr_train.callbacks.aqr import describe_figures
from aqr_train.callbacks.logger import _keep_until

MAP = {"map_bev_mean": 1.9, "map_bev_std": 0.3}


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
        weights = {
            f"weight_{name}_{kind}": 0.25 for name in ("lidar", "camera") for kind in ("mean", "std", "min", "max")
        }
        scale = float(self.attention_bias_generator.bias_scale.detach())
        return {"bias_scale": scale, **weights, "prefer_lidar": 0.75, "prefer_camera": 0.25}


def trainer_of(scale: float) -> SimpleNamespace:
    model = nn.Module()
    model.pts_bbox_head = Head(scale)
    recorded: list[dict[str, float]] = []
    return SimpleNamespace(
        plain_model=model,
        engine=SimpleNamespace(edit=lambda parameter, change: change()),
        settings=SimpleNamespace(log_every=1),
        state=SimpleNamespace(step=1),
        is_main=True,
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
    monitor = AqrMonitor()
    with caplog.at_level(logging.INFO):
        monitor.on_step_end(trainer, None)
        monitor.on_step_end(trainer, None)
    assert trainer.recorded[0]["aqr/bias_scale"] == pytest.approx(scale) and "aqr/prefer_lidar" in trainer.recorded[0]
    assert caplog.text.count(f"Bias scale {scale:.4f}") == 2 and "prefer LiDAR 75 %, camera 25 %" in caplog.text
    assert caplog.text.count("lower max_scale") == warns  # once, not at every line
    assert "LiDAR weight 0.250 +- 0.250, 0.250 to 0.250" in caplog.text


def test_a_resumed_run_does_not_warn_again(caplog: pytest.LogCaptureFixture) -> None:
    first, resumed = AqrMonitor(), AqrMonitor()
    first.on_step_end(trainer_of(4.9), None)
    assert "lower max_scale" in caplog.text
    caplog.clear()
    resumed.load_state_dict(first.state_dict())
    resumed.on_step_end(trainer_of(4.9), None)
    assert caplog.records == []


def test_other_processes_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    trainer = trainer_of(4.9)
    trainer.is_main = False
    AqrMonitor().on_step_end(trainer, None)
    assert caplog.records == [] and trainer.recorded == []


def test_a_line_says_what_the_variant_has() -> None:
    maps = {"map_bev_mean": 1.0, "map_bev_std": 0.25, "map_bev_max": 2.0, "feature_change": 0.125}
    assert describe_figures(maps) == "BEV map 1.000 +- 0.250, at most 2.000  features changed by 12.50 %"
    assert describe_figures({"route_fused": 0.5, "route_bev": 0.5}) == "Queries by expert: fused 50 %, bev 50 %"


def test_a_map_at_its_clamp_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nine of ten BEV cells at 2, the image map below."""
    bev = torch.full((1, 2, 5), 2.0)
    bev[0, 0, 0] = 1.0
    aqr = SimpleNamespace(maps=WeightMaps(bev, torch.ones(1, 6, 2, 2)))
    renderer = SimpleNamespace(normalize_weights=True, clamp_max=torch.tensor(2.0), set_epoch=lambda epoch: None)
    head = SimpleNamespace(weight_renderer=renderer, last_aqr=aqr, aqr_scalars=lambda: {"map_bev_max": 2.0, **MAP})
    trainer = trainer_of(1.0)
    trainer.plain_model = SimpleNamespace(pts_bbox_head=head)
    monitor = AqrMonitor()
    monitor.on_step_end(trainer, None)
    monitor.on_step_end(trainer, None)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and warnings[0].startswith("90% of the cells of the bev map sit at their clamp")


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
