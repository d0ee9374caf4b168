"""`aqr benchmark aqr` on the tiny config, and its arithmetic on figures worked out by hand."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import MapShapes, QueryCells
from aqr_core.models.aqr.variant import AQR_BLOCKS
from aqr_train.benchmarks.aqr_attention import PLAIN, compare_attention, dense_bytes
from aqr_train.benchmarks.aqr_floor import Floor, Rates, Work, added_work, count_work, linear, measure_rates
from aqr_train.benchmarks.aqr_rendering import NAIVE, RENDERER, compare_renderers
from aqr_train.benchmarks.aqr_report import Comparison, Targets, grids, markdown
from aqr_train.benchmarks.aqr_scene import extract, open_scene, seeded_boxes
from aqr_train.benchmarks.aqr_sides import BASELINE, RECIPE, build_side, shipped_config, side_configs
from aqr_train.benchmarks.aqr_steps import head_step
from aqr_train.benchmarks.turns import BACKWARD, FORWARD, SideFigures, Spread, cpu_ratio, take_turns, time_ratio
from aqr_train.cli import main

CPU = torch.device("cpu")
RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)


@pytest.fixture(scope="module")
def scene():
    return open_scene("cmt_tiny", 20, CPU)


def figures(*seconds: float, peak: int | None = None) -> SideFigures:
    """Two thirds of every round go backward."""
    return SideFigures(tuple({FORWARD: s / 3, BACKWARD: 2 * s / 3} for s in seconds), seconds, peak)


def test_sides_run_in_turn_and_none_always_first():
    order: list[str] = []

    def side(name):
        def run(mark):
            time.sleep(0.11)  # a whole round, so once
            order.append(name)
            mark(FORWARD)

        return run

    found = take_turns({name: side(name) for name in "abc"}, CPU, 3, memory=False)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert [len(found[name].rounds) for name in "abc"] == [3, 3, 3]
    assert all(seconds >= 0.11 for seconds in found["a"].seconds()) and found["a"].peak_bytes is None


def test_every_side_of_a_round_draws_the_same_random_numbers():
    drawn: dict[str, list[float]] = {"a": [], "b": []}

    def side(name):
        def run(mark):
            time.sleep(0.11)
            drawn[name].append(float(torch.rand(())))
            mark(FORWARD)

        return run

    take_turns({name: side(name) for name in drawn}, CPU, 2, memory=False)
    assert drawn["a"] == drawn["b"] and len(set(drawn["a"])) == 2  # seed 0 warms up and is round 0


def test_ratios_are_taken_round_by_round():
    base, side = figures(1.0, 2.0, 10.0), figures(1.1, 2.6, 9.0)
    ratio = time_ratio(side, base)
    assert dataclasses.astuple(ratio) == pytest.approx((1.1, 0.9, 1.3))  # medians of the times would give 1.3
    assert time_ratio(side, base, BACKWARD).median == pytest.approx(1.1)
    assert cpu_ratio(side, base) == ratio


def test_a_variant_differs_from_the_baseline_by_its_aqr_blocks_alone():
    configs = side_configs("cmt_tiny", ["v1", "v2", "v3", "v3-global"], ["dense"])
    assert list(configs) == [BASELINE, "v1", "v2", "v3", "v3-global", "v3, dense"]
    plain = configs[BASELINE]["model"]["pts_bbox_head"]
    for config in configs.values():
        head = config["model"]["pts_bbox_head"]
        assert {key: value for key, value in head.items() if key not in AQR_BLOCKS} == plain
        assert {**config["model"], "pts_bbox_head": plain} == configs[BASELINE]["model"]
        assert {key: config[key] for key in config if key != "model"} == {
            key: configs[BASELINE][key] for key in configs[BASELINE] if key != "model"
        }
    bias = "attention_bias_config"
    assert bias not in configs["v1"]["model"]["pts_bbox_head"]
    assert configs["v3-global"]["model"]["pts_bbox_head"][bias]["use_local_bias"] is False
    assert configs["v3, dense"]["model"]["pts_bbox_head"][bias]["attention_backend"] == "dense"


def test_aqr_is_not_neutral_in_a_side(scene):
    head = build_side(side_configs("cmt_tiny", ["v3"], [])["v3"], CPU)[0].pts_bbox_head
    features = extract(build_side(side_configs("cmt_tiny", [], [])[BASELINE], CPU)[0], scene.batch)
    head_step(head, scene.batch, features)(lambda part: None)
    assert head.last_aqr.weights.std() > 0.1
    assert head.last_aqr.weights.shape == (1, 100, 2)
    assert all(tensor.grad is None for tensor in (*features, *head.parameters()))


def test_the_scene_has_the_slots_that_its_boxes_make(scene):
    assert scene.slots == 100 and scene.cells.in_bev.shape == (1, 200) and scene.own_cells.in_bev.shape == (1, 100)
    assert "100, and 100 denoising slots, over 2080 tokens" in scene.describe_queries()
    assert scene.cells.visible.sum(dim=-1).float().mean() > 0.9  # the six cameras look everywhere


def test_seeded_boxes_repeat_and_stay_in_range():
    boxes, labels = seeded_boxes(83, RANGE)
    again, _ = seeded_boxes(83, RANGE)
    assert torch.equal(boxes, again) and boxes.shape == (83, 9) and labels.shape == (83,)
    assert boxes[:, :2].abs().max() < 54 and boxes[:, 2].min() > -5 and boxes[:, 2].max() < 3


def test_counted_work_of_known_products():
    x, layer = torch.ones(4, 8, requires_grad=True), nn.Linear(8, 16, bias=False)
    assert count_work(lambda mark: layer(x).sum().backward()).operations == linear(4, 8, 16).operations == 3 * 2 * 512
    attended = torch.ones(1, 2, 5, 8, requires_grad=True)

    def attention(mark):
        torch.nn.functional.scaled_dot_product_attention(attended, attended, attended).sum().backward()

    one_product = 2 * 2 * 5 * 5 * 8
    assert count_work(attention).operations == 7 * one_product
    assert count_work(lambda mark: torch.add(torch.ones(10), 1)).bytes == 3 * 40  # ones written, read; sum written


def test_least_work_of_the_variants(scene):
    heads = {
        name: build_side(config, CPU)[0].pts_bbox_head
        for name, config in side_configs("cmt_tiny", ["v1", "v3", "v3-global"], []).items()
        if name != BASELINE
    }
    work = {name: added_work(head, scene.cells, scene.slots) for name, head in heads.items()}
    assert list(work["v1"]) == ["weight generator", "renderer", "modulator"]
    assert work["v3-global"]["bias in the attention"].operations == 3 * 3 * 4 * 200 * 2080  # layers, heads, logits
    assert work["v3"]["bias in the attention"].operations < 0.05 * work["v3-global"]["bias in the attention"].operations
    keys_and_values = 2 * linear(2080, 128, 128).operations
    assert keys_and_values < work["v1"]["weight generator"].operations < work["v3"]["weight generator"].operations


def test_the_floor_takes_the_slower_of_arithmetic_and_traffic():
    floor = Floor(Work(0, 0), {"v3": {"a": Work(200, 10), "b": Work(0, 30)}}, Rates(operations=100, bytes=10))
    assert floor.ratio("v3", baseline_s=50) == pytest.approx(1 + (2 + 3) / 50)
    rates = measure_rates(64, 32, "fp32", CPU)
    assert rates.operations > 1e6 and rates.bytes > 1e6


def test_renderers_are_compared_on_the_same_queries():
    cells = QueryCells(
        MapShapes((8, 8), (1, 4, 4)),
        torch.tensor([[[3, 3], [7, 7]]]),
        torch.ones(1, 2, dtype=torch.bool),
        torch.tensor([[[[1, 2]], [[0, 0]]]]),
        torch.tensor([[[True], [False]]]),
    )
    found = compare_renderers(dict(type="WeightRenderer"), cells, 9)
    assert list(found) == ["forward", "forward and backward"]
    for passes, sides in found.items():
        assert list(sides) == [NAIVE, RENDERER] and len(sides[NAIVE].rounds) == 3  # the loop's own limit
        assert sides[RENDERER].has(BACKWARD) == (passes != "forward")
        assert 1 / time_ratio(sides[RENDERER], sides[NAIVE]).median > 1


def test_one_attention_layer_per_backend(scene):
    block = shipped_config("cmt_tiny", "v3")["model"]["pts_bbox_head"]["attention_bias_config"]
    found = compare_attention(block, scene.cells, 4, 128, backends=["dense", "window"], precision="fp32", rounds=1)
    assert list(found) == [PLAIN, "dense", "window", "global bias"]
    assert all(min(side.seconds(BACKWARD)) > 0 for side in found.values())
    assert found["dense"].peak_bytes > 4 * 200 * 2080 * 4  # one matrix of logits at least
    assert found["window"].peak_bytes < found["dense"].peak_bytes
    assert dense_bytes(scene.cells, 4) == 4 * 4 * 200 * 2080 * 4


def test_the_report_says_what_is_met():
    sides = {BASELINE: figures(1.0, 1.0, peak=100), "v1": figures(1.2, 1.3, peak=109), RECIPE: figures(0.5, 0.5)}
    comparison = Comparison("Head", sides, Targets(time=1.10, memory=1.10, sides=("v1",)))
    assert list(comparison.ratios().rows[1]) == [
        "v1",
        "1.25 (1.20 to 1.30)",
        "at most 1.10: missed",
        "1.25 (1.20 to 1.30)",
        "1.25",
        "1.25",
        "1.09",
        "at most 1.10: met",
    ]
    assert comparison.ratios().rows[2][2] == ""  # no target is the recipe's
    faster = Comparison(
        "Renderer", {NAIVE: figures(4.0), RENDERER: figures(0.01)}, Targets(speedup=200, sides=(RENDERER,))
    )
    assert list(faster.ratios().rows[1]) == [RENDERER, "400 (400 to 400)", "at least 200: met"]
    floor = Floor(Work(2e9, 2**20), {"v1": {"renderer": Work(1e9, 0)}}, Rates(1e10, 1e10))
    text = markdown(["device: x"], [dataclasses.replace(comparison, floor=floor)], floor, on_cuda=False)
    assert "| v1 | 1.25 (1.20 to 1.30) | at most 1.10: missed | 1.25 (1.20 to 1.30) | 1.10 | 1.25 |" in text
    assert "| v1 | renderer | 1.00 | 0 | 100.0 |" in text
    assert "10 GFLOP/s" in text and RECIPE in text and "- device: x" in text
    assert [grid.title for grid in grids([comparison], None)] == ["Head", "Head: absolute"]


def test_medians_come_with_their_spread():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_the_command_writes_its_report(tmp_path, capsys):
    out = tmp_path / "aqr.md"
    arguments = ["--config", "cmt_tiny", "--parts", "head", "model", "attention", "--variants", "v3"]
    options = ["--rounds", "1", "--boxes", "20", "--device", "cpu", "--dense-gib", "0.01", "--out", str(out)]
    assert main(["benchmark", "aqr", *arguments, *options]) == 0
    text = out.read_text()
    for title in ("Head alone, training step", "Full model, training step", "One cross-attention, 200 queries to 2080"):
        assert f"## {title}" in text
    assert "(dense needs about 0 GiB and is left out)" in text
    rows = [line.split(" | ") for line in text.split("## Full model, training step\n")[1].splitlines()[3:6]]
    assert [row[0] for row in rows] == [f"| {name}" for name in (BASELINE, "v3", RECIPE)]
    assert all(float(row[1].split()[0]) > 0 for row in rows)
    command = "aqr benchmark aqr --config cmt_tiny --parts head model attention --variants v3 --rounds 1 --boxes 20"
    assert f"- command: `{command} --device cpu --precision fp32 --dense-gib 0.01`" in text
    assert "| v3 | weight generator |" in text and "commit: " in text
    assert "Full model, training step" in capsys.readouterr().out


def test_a_backend_gets_a_row(scene):
    configs = side_configs("cmt_tiny", [], ["window"])
    assert (
        build_side(configs["v3, window"], CPU)[0].pts_bbox_head.attention_bias_generator.attention_backend == "window"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "--rounds 0 and --boxes 83 are counts from 1"),
        (["--out", "."], "--out . is a folder"),
        (["--device", "abacus"], "--device abacus cannot be used"),
        (["--config", "cmt_camera_vov_1600x640_cbgs"], "no AQR sibling cmt_aqr_camera_vov_1600x640_cbgs"),
        (["--config", "nonsense"], "neither a .py file nor a shipped config"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(options, message, capsys):
    assert main(["benchmark", "aqr", *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_baseline_without_siblings_is_refused():
    with pytest.raises(ConfigError, match="such as cmt_tiny"):
        shipped_config("real_keyframe", "v1")
