"""What the log says of a run: means, names, one line, strict JSON, time to go."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aqr_train.callbacks import ProgressBar, ScalarLogger
from aqr_train.callbacks.logger import board_name, describe_line, json_line
from aqr_train.callbacks.means import StepMeans, loss_name
from aqr_train.callbacks.memory import peak_memory
from aqr_train.callbacks.progress import Pace
from aqr_train.precision import LossScale
from aqr_train.step import StepResult

LINE = {
    "train/loss": 1.5,
    "train/grad_norm": 3.25,
    "lr": 2e-4,
    "time/samples_per_s": 12.0,
    "time/data_share": 0.031,
    "memory/rss_gib": 1.5,
}


def result_of(loss: float, grad_norm: float = 1.0, skipped: bool = False, **terms: float) -> StepResult:
    losses = {name: torch.tensor(value) for name, value in {**terms, "loss": loss}.items()}
    return StepResult(losses, grad_norm, skipped, samples=2)


def test_losses_are_named_by_term_and_layer() -> None:
    assert loss_name("loss_cls") == "train/loss_cls"
    assert loss_name("d0.loss_cls") == "train/loss_cls/layer0"
    assert loss_name("d10.dn_loss_bbox") == "train/dn_loss_bbox/layer10"


def test_means_are_over_steps_and_gradients_over_updates() -> None:
    means = StepMeans()
    means.add(result_of(1.0, grad_norm=4.0, dn_loss_cls=0.5))
    means.add(result_of(2.0, grad_norm=math.inf, skipped=True))
    means.add(result_of(6.0, grad_norm=8.0))
    assert means.gather() == pytest.approx({"train/dn_loss_cls": 0.5 / 3, "train/loss": 3.0, "train/grad_norm": 6.0})
    assert (means.steps, means.skipped) == (3, 1)


def test_steps_without_any_update_have_no_gradient() -> None:
    means = StepMeans()
    means.add(result_of(1.0, grad_norm=math.nan, skipped=True))
    assert means.gather() == {"train/loss": 1.0}


def test_unfinished_means_go_on_after_a_resume() -> None:
    whole, first, second = StepMeans(), StepMeans(), StepMeans()
    results = [result_of(0.1 * step, grad_norm=float(step), d0_loss=0.3) for step in range(1, 6)]
    for result in results:
        whole.add(result)
    for result in results[:2]:
        first.add(result)
    second.load_state_dict(first.state_dict())
    for result in results[2:]:
        second.add(result)
    assert second.gather() == whole.gather()  # to the last bit


def test_a_line_of_the_log() -> None:
    assert describe_line(LINE, 50, 1000, 3, "0:12:03") == (
        "step 50/1000  epoch 3  loss 1.5000  lr 2.000e-04  gradient 3.250  12.00 samples/s  waiting for data 3 %  "
        "memory 1.50 GiB  to go 0:12:03"
    )
    half = {**LINE, "fp16/loss_scale": 65536.0, "fp16/skipped": 2.0}
    del half["train/grad_norm"]
    line = describe_line(half, 1, 2, 0, "0:00:01")
    assert "gradient none" in line and "loss scale 65536, 2 skipped  to go" in line


def test_records_are_strict_json() -> None:
    line = json_line(4, 1, {"val/mAP": math.nan, "train/loss": math.inf, "lr": 0.5})
    assert line == '{"step": 4, "epoch": 1, "val/mAP": null, "train/loss": null, "lr": 0.5}'


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lr/(all others)", "lr/all_others"),
        ("lr/img_backbone.*", "lr/img_backbone"),
        ("lr/*.norm.*", "lr/_.norm"),
        ("train/loss_cls/layer0", "train/loss_cls/layer0"),
    ],
)
def test_names_that_boards_take(name: str, expected: str) -> None:
    assert board_name(name) == expected


def test_a_run_logs_rates_memory_and_time(train: Callable[..., Path]) -> None:
    groups = "optimizer.param_groups={'stem.*': {'lr_mult': 0.1}}"
    folder = train("run", "--cfg-options", groups, "train.log_every=5")
    records = [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [5, 10]
    for record in records:
        assert record["lr/stem.*"] == pytest.approx(0.1 * record["lr"])
        assert record["lr/(all others)"] == record["lr"]
        assert record["memory/rss_gib"] > 0.05 and record["time/samples_per_s"] > 0
        assert 0 < record["time/data_share"] < 1
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("lr/stem")] == [5, 10]
    assert "to go 0:00:0" in (folder / "log.txt").read_text()


def test_fp16_logs_its_scale_and_what_it_skipped(tmp_path: Path) -> None:
    recorded: list[dict[str, float]] = []
    groups = [{"name": "a", "lr": 0.1}, {"name": "b", "lr": 0.3}]
    trainer = SimpleNamespace(
        is_main=False,
        is_due=lambda every: True,
        settings=SimpleNamespace(log_every=1),
        schedule=SimpleNamespace(total_steps=2),
        state=SimpleNamespace(step=1, epoch=0),
        accelerator=SimpleNamespace(device=torch.device("cpu")),
        engine=SimpleNamespace(param_groups=groups, loss_scale=LossScale(value=32768.0)),
        step_s=0.5,
        data_wait_s=0.125,
        record=recorded.append,
    )
    ScalarLogger().on_step_end(trainer, result_of(1.0, grad_norm=math.inf, skipped=True))
    (record,) = recorded
    assert record["fp16/loss_scale"] == 32768.0 and record["fp16/skipped"] == 1.0
    assert (record["time/samples_per_s"], record["time/data_share"]) == (4.0, 0.25)
    assert record["lr"] == 0.3


def test_memory_of_this_process() -> None:
    kind, gib = peak_memory(torch.device("cpu"))
    assert kind == "rss_gib" and 0.05 < gib < 100


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_of_a_gpu() -> None:
    kept = torch.zeros(2**28, device="cuda")  # 1 GiB
    kind, gib = peak_memory(kept.device)
    assert kind == "peak_gib" and gib >= 1.0


def test_time_to_go_counts_the_steps_of_this_process_alone() -> None:
    """Resumed at 100: ten steps took 20 s, so 90 more take 180 s."""
    assert Pace(100, started=5.0).to_go(110, 200, now=25.0) == "0:03:00"


def test_a_bar_shows_steps_time_and_figures() -> None:
    screen = io.StringIO()
    bar = ProgressBar(Console(file=screen, force_terminal=True, width=160))
    trainer = SimpleNamespace(is_main=True, state=SimpleNamespace(step=2), schedule=SimpleNamespace(total_steps=10))
    bar.on_fit_start(trainer)
    trainer.state.step = 3
    bar.on_step_end(trainer, result_of(1.5))
    bar.on_scalars(trainer, {"aqr/bias_scale": 2.5})  # not the means: they stay
    bar.on_scalars(trainer, LINE)
    bar.on_close(trainer)
    assert "3/10" in screen.getvalue() and "loss 1.500  12.0 samples/s  data wait 3 %" in screen.getvalue()


def test_no_bar_without_a_terminal() -> None:
    screen = io.StringIO()
    bar = ProgressBar(Console(file=screen))
    trainer = SimpleNamespace(is_main=True)
    bar.on_fit_start(trainer)
    bar.on_close(trainer)
    assert screen.getvalue() == ""
