"""`aqr benchmark training` on the tiny recipe, and its arithmetic on figures worked out by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from accelerate.state import AcceleratorState
from rich.console import Console

from aqr_core.config import load_config
from aqr_core.data import collate
from aqr_core.errors import ConfigError
from aqr_core.infos import build_infos
from aqr_core.synth import generate
from aqr_train.assembly import build_dataset, build_model, build_trainer
from aqr_train.benchmarks import training_overhead
from aqr_train.benchmarks.training_data import DataWait
from aqr_train.benchmarks.training_frozen import FULL, RECIPE, FrozenComparison, Side, compare_recipe, full_config
from aqr_train.benchmarks.training_overhead import (
    BARE,
    STEPS,
    TRAINER,
    Overhead,
    Watch,
    bare_loop,
    fit,
    shorten,
)
from aqr_train.benchmarks.training_report import Report, at_least, at_most
from aqr_train.benchmarks.turns import SideFigures, Spread
from aqr_train.cli import main
from aqr_train.processes import start_accelerator
from aqr_train.seeding import seed_all
from aqr_train.settings import TrainSettings, read_section

CPU = torch.device("cpu")
INFOS = "infos_mini_train.jsonl"
BACKBONE, HEAD = "image backbone", "head: decoder"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tiny scene of four keyframes with infos."""
    folder = tmp_path_factory.mktemp("training") / "data"
    generate(folder, 1, 0, workers=1, keyframes=4)
    build_infos(folder, "v1.0-mini", folder, splits=["mini_train"])
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def side(backbone_s: float, head_s: float, peak: int, held: int, frozen=()) -> Side:
    rounds = ({BACKBONE: backbone_s, HEAD: head_s},) * 2
    return Side(SideFigures(rounds, (backbone_s + head_s,) * 2, peak), held, 10, 40, frozen)


def test_the_ratios_count_what_is_held_between_steps():
    compared = FrozenComparison(side(4.0, 5.0, 700, 300), side(1.0, 5.0, 400, 100, (BACKBONE,)))
    assert compared.times_faster == Spread(1.5, 1.5, 1.5)
    assert compared.memory_ratio == 0.5  # 500 of 1000 bytes
    assert compared.recipe.frozen_s == 1.0
    grids = {grid.title: grid for grid in Report(frozen=compared).grids()}
    assert list(grids["Targets"].rows[0]) == ["frozen recipe, times faster", "1.50 (1.50 to 1.50)", "at least 1.5: met"]
    assert grids["Targets"].rows[1][1:] == ("0.50", "at most 0.6: met")
    assert grids["Where a step goes"].rows[0] == (f"{BACKBONE} (frozen)", "4000", "1000", "3000")
    assert [row[1] for row in grids["Floor of the recipe's step"].rows] == ["17%", "56%", "at most 1.80"]


def test_the_overhead_is_that_of_the_steps_in_the_middle():
    edges = {"first and last step": 9.0}
    figures = {
        BARE: SideFigures(({**edges, STEPS: 2.0}, {STEPS: 4.0}), (1.0, 1.0)),
        TRAINER: SideFigures(({**edges, STEPS: 2.1}, {STEPS: 4.1}), (1.0, 1.0)),
    }
    measured = Overhead(figures, steps=10, callbacks={"ScalarLogger": 0.001})
    assert measured.added_s.median == pytest.approx(0.01) and measured.step_s(BARE).median == pytest.approx(0.3)
    assert measured.ratio.high == pytest.approx(1.05) and measured.ratio.low == pytest.approx(1.025)
    grids = {grid.title: grid for grid in Report(overhead=measured).grids()}
    assert grids["Targets"].rows[0][1:] == ("3.8% (2.5% to 5.0%)", "at most 3%: missed")
    assert grids["What the callbacks take"].rows == [("ScalarLogger", "1.00")]


def test_workers_follow_from_the_cpu_time_of_a_sample():
    wait = DataWait((0.1, 0.3), (1.5, 2.1), 5.0, Spread(0.2, 0.1, 0.3), batch_size=4, workers=4)
    assert wait.share == pytest.approx(0.4 / 4.0) and wait.step_s == pytest.approx(1.8)
    assert wait.cores_for(0.25) == pytest.approx(16 * 0.2) and wait.workers_for(0.25) == 4
    assert wait.workers_for(100.0) == 1
    text = Report(data=wait, gpu_step_s=0.25).markdown(["device: x"])
    assert "| share of the step that waits for data | 10.0% | at most 5%: missed |" in text
    assert "| workers for a step of 0.25 s, 16.0 samples/s | 4 (3.20 cores) |" in text and "- device: x" in text


def test_verdicts():
    assert at_least(1.5, 1.5) == "at least 1.5: met" and at_most(0.61, 0.6) == "at most 0.6: missed"
    assert at_most(0.03, 0.03, percent=True) == "at most 3%: met"


def test_every_group_trains_in_the_full_config():
    config = load_config("cmt_aqr_tiny")
    config["optimizer"]["param_groups"]["pts_neck.*"]["lr_mult"] = 0  # another way to freeze
    before = copy.deepcopy(config)
    full = full_config(config)
    assert config.to_dict() == before.to_dict()
    groups = full["optimizer"]["param_groups"]
    assert not any(rule.get("frozen") for rule in groups.values()) and groups["pts_neck.*"]["lr_mult"] == 1.0
    assert groups["img_neck.*"] == {**before["optimizer"]["param_groups"]["img_neck.*"], "frozen": False}


def batch_of(root):
    config = load_config("cmt_aqr_tiny", [f"dataroot={root}", f"data.train.infos={INFOS}"])
    dataset = build_dataset(config, config["data"]["train"], seed=0, test_mode=False)
    return config, collate([dataset[1]])


def test_the_recipe_saves_time_and_memory(root):
    config, batch = batch_of(root)
    compared = compare_recipe(config, batch, 1, "fp32")
    assert compared.full.trained == compared.full.parameters == compared.recipe.parameters > compared.recipe.trained
    assert compared.recipe.frozen_parts == ("voxels", "sparse encoder", BACKBONE) and compared.memory_ratio < 1
    assert "BEV backbone and neck" not in compared.recipe.frozen_parts  # its neck trains
    assert set(compared.full.figures.rounds[0]) == set(compared.recipe.figures.rounds[0])
    moments = 2 * 4 * (compared.full.trained - compared.recipe.trained)
    assert compared.full.held_bytes - compared.recipe.held_bytes == pytest.approx(moments, rel=1e-3)
    assert {FULL, RECIPE} == {row[0] for row in next(g for g in Report(compared).grids() if "against" in g.title).rows}


def test_a_config_that_freezes_nothing_is_refused(root):
    _, batch = batch_of(root)
    with pytest.raises(ConfigError, match="freezes nothing"):
        compare_recipe(load_config("cmt_tiny"), batch, 1, "fp32")


def test_trainer_and_bare_loop_do_the_same_work(root, tmp_path, monkeypatch):
    """From the same seed they end at the same weights."""
    config = load_config("cmt_aqr_tiny", ["data.num_workers=0", "train.grad_clip=None"])
    shorten(config, root, INFOS, steps=1)
    bare = []

    def remember(config):
        built = build_model(config)
        bare.append(built[0])
        return built

    monkeypatch.setattr(training_overhead, "build_model", remember)
    accelerator = start_accelerator(read_section(TrainSettings, config, "train"))
    trainer = build_trainer(config, accelerator, tmp_path, Console(quiet=True))
    watch = Watch(steps=1)
    for run in (bare_loop(config, 1, CPU), fit(trainer, watch)):
        marks: list[str] = []
        seed_all(0)
        run(marks.append)
        assert marks == ["first and last step", STEPS, "first and last step"]
    assert {"ScalarLogger", "ProgressBar", "Checkpointer"} <= set(watch.spent)
    start, trained = build_model(config)[0].state_dict(), trainer.plain_model.state_dict()
    assert any(not torch.equal(start[name], value) for name, value in trained.items())
    for name, value in bare[0].state_dict().items():
        assert torch.equal(value, trained[name]), name


@pytest.mark.slow
def test_the_command_writes_its_report(tmp_path, capsys):
    out, data = tmp_path / "training.md", tmp_path / "data"
    generate(data, 1, 0, workers=1, keyframes=4)
    build_infos(data, "v1.0-mini", data, splits=["mini_train"])
    sizes = ["--rounds", "1", "--batch-size", "1", "--overhead-steps", "1", "--data-steps", "1"]
    place = ["--dataroot", str(data), "--infos", INFOS]
    assert main(["benchmark", "training", "cmt_aqr_tiny", *sizes, *place, "--device", "cpu", "--out", str(out)]) == 0
    text = out.read_text()
    for title in ("Targets", "Where a step goes", "Trainer over a bare loop", "Waiting for data", "What is measured"):
        assert f"## {title}" in text
    assert "- command: `aqr benchmark training cmt_aqr_tiny --parts frozen overhead data --rounds 1" in text
    assert "without pasted objects" in text and "- overhead: cmt_aqr_tiny, 1 steps per round" in text
    assert "Targets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "--rounds is 0; it counts from 1"),
        (["--batch-size", "0"], "--batch-size is 0; it counts from 1"),
        (["--gpu-step", "0"], "--gpu-step is 0.0 s; give a length above 0"),
        (["--out", "."], "--out . is a folder"),
        (["--device", "abacus"], "--device abacus cannot be used"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(options, message, capsys):
    assert main(["benchmark", "training", *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
