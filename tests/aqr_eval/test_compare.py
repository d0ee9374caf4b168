"""`aqr-eval compare`: hand numbers, the tables, and what it refuses.

The dataset has one car in each of three keyframes, one pedestrian, and a bicycle that does not count.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from aqr_eval import load_ground_truth
from aqr_eval.analysis.bootstrap import draw_scenes
from aqr_eval.cli import main
from aqr_eval.compare import Comparison, Score, compare
from aqr_eval.compare.comparison import arrange
from aqr_eval.compare.interval_tables import interval_table
from aqr_eval.compare.tables import class_table, score_tables, to_markdown
from aqr_eval.ground_truth import GroundTruth, write_ground_truth
from aqr_eval.nuscenes.errors import SubmissionError

# Precision 1 up to a recall of 1/3, seen at the recalls 0.11 to 0.33; up to 1 at those of 0.11 to 1.00.
ONE_OF_THREE, ALL = 23 / 90, 1.0


def found(kind: str, x: float, y: float) -> dict:
    return {
        "translation": [x, y, 1.0],
        "size": [2.0, 4.0, 1.5],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [2.0, 0.0],
        "detection_name": kind,
        "detection_score": 0.9,
        "attribute_name": "vehicle.moving" if kind == "car" else "",
    }


@pytest.fixture
def paths(tmp_path: Path, write_results) -> dict[str, Path]:
    """Results files: `none` finds nothing, `one` the car of one keyframe, `cars` all cars, `all` the pedestrian too."""
    cars = [found("car", 10.0 + i, 5.0) for i in range(3)]
    walker = found("pedestrian", -5.0, 3.0)
    content = {
        "none": ([], [], []),
        "one": ([cars[0]], [], []),
        "cars": ([cars[0]], [cars[1]], [cars[2]]),
        "all": ([cars[0], walker], [cars[1]], [cars[2]]),
    }
    return {
        name: write_results(tmp_path / f"{name}.json", dict(zip(("t0", "t1", "t2"), lists, strict=True)))
        for name, lists in content.items()
    }


@pytest.fixture
def split(tiny_dataroot: Path) -> list[str]:
    return ["--dataroot", str(tiny_dataroot), "--version", "v1.0-mini", "--split", "mini_val"]


@pytest.fixture
def comparison(tiny_dataroot: Path, paths: dict[str, Path]) -> Comparison:
    """`a` finds a third of the cars and, without a camera, nothing; `b` all cars and then a third."""
    truth = load_ground_truth(tiny_dataroot, "v1.0-mini", "mini_val")
    told: list[tuple[str, str]] = []
    submissions = {
        "clean": {"a": paths["one"], "b": paths["cars"], "same": paths["one"]},
        "no camera": {"a": paths["none"], "b": paths["one"], "same": paths["none"]},
    }
    result = compare(truth, submissions, lambda condition, model: told.append((condition, model)))
    assert told == [(condition, model) for condition in submissions for model in ("a", "b", "same")]
    return result


def text_of(table: object, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_columns_hold_values_differences_and_the_best(comparison: Comparison) -> None:
    assert comparison.models == ("a", "b", "same") and comparison.conditions == ("clean", "no camera")
    column = comparison.column("clean", "car")
    assert [score.value for score in column.values()] == pytest.approx([ONE_OF_THREE, ALL, ONE_OF_THREE])
    assert column["a"].difference is None and column["same"] == Score(column["a"].value, 0.0, best=False)
    assert column["b"].difference == pytest.approx(67 / 90) and column["b"].best
    # Of ten classes only cars are found.
    assert comparison.column("clean", "mAP")["b"].difference == pytest.approx(67 / 900)
    blind = comparison.column("no camera", "mAP")
    assert [score.value for score in blind.values()] == pytest.approx([0, ONE_OF_THREE / 10, 0])
    # The five errors of a car that is found are 0, of every other class 1 where they are defined.
    errors = comparison.metrics["clean"]["b"].tp_scores
    expected = (5 * 0.1 + sum(errors.values())) / 10
    assert comparison.column("clean", "NDS")["b"].value == pytest.approx(expected)
    assert errors["trans_err"] == pytest.approx(0.1) and errors["vel_err"] == pytest.approx(1 / 8)


def test_nobody_is_best_where_all_are_equal(comparison: Comparison) -> None:
    assert not any(score.best for score in comparison.column("clean", "pedestrian").values())


def test_what_the_digits_do_not_show_is_no_difference(comparison: Comparison) -> None:
    metrics = comparison.metrics["clean"]["b"]
    aps = {name: {threshold: ap - 4e-5 for threshold, ap in of.items()} for name, of in metrics.label_aps.items()}
    close = Comparison({"clean": {"a": metrics, "b": replace(metrics, label_aps=aps)}})
    column = close.column("clean", "mAP")
    assert column["b"].difference == pytest.approx(-4e-5) and not any(score.best for score in column.values())
    assert "(+0.0000)" in (page := to_markdown(close, "clean", [])) and "(-0.0000)" not in page


def test_the_table_of_scores_is_drawn_once_for_three_conditions(comparison: Comparison) -> None:
    (table,) = score_tables(comparison)
    lines = [line.rstrip() for line in text_of(table).splitlines()]
    assert lines[1].split() == ["clean", "no", "camera"]
    assert lines[2].split() == ["Model", "NDS", "mAP", "NDS", "mAP"]
    row = next(number for number, line in enumerate(lines) if line.split()[:1] == ["b"])
    assert lines[row].split()[2] == "0.1000*" and lines[row + 1].split()[1] == "+0.0744"
    assert lines[row].index("0.1000") == lines[row + 1].index("+0.0744") + 1  # decimal points in line
    same = next(line for line in lines if "same" in line)
    assert "*" not in same and lines[lines.index(same) + 1].split() == ["+0.0000"] * 4
    four = Comparison({str(number): comparison.metrics["clean"] for number in range(4)})
    assert [len(table.columns) for table in score_tables(four)] == [1 + 3, 1 + 1]


def test_six_models_under_three_conditions_fit_80_columns(comparison: Comparison) -> None:
    metrics = comparison.metrics["clean"]["a"]
    models = dict.fromkeys(("baseline", "v1", "v2", "v3", "router", "shipped"), metrics)
    wide = Comparison({"clean": models, "no camera": models, "no LiDAR": models})
    for table in (*score_tables(wide), class_table(wide, "no camera")):
        text = text_of(table, width=200)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
        assert text == "".join(f"{line}\n" for line in text.splitlines()) and "…" not in text


def test_the_table_of_classes(comparison: Comparison) -> None:
    text = text_of(class_table(comparison, "clean"))
    assert "AP per class, clean" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if len(line.split()) == 5}
    assert rows["car"] == ["0.2556", "1.0000*", "0.2556", "3"] and rows["pedestrian"] == ["0.0000"] * 3 + ["1"]


def test_markdown(comparison: Comparison) -> None:
    lines = to_markdown(comparison, "clean", ["How it was made.", "What it shows."]).splitlines()
    assert lines[0] == "How it was made." and lines[2] == "What it shows."
    assert lines[4] == "| model | clean NDS | clean mAP | no camera NDS | no camera mAP |"
    assert lines[5] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[7].split(" | ")[2] == "**0.1000** (+0.0744)" and lines[6].split(" | ")[2] == "0.0256"
    assert "| car | 0.2556 | **1.0000** | 0.2556 | 3 |" in lines


def test_a_bar_in_a_name_does_not_cut_a_markdown_cell(comparison: Comparison) -> None:
    renamed = Comparison({"clean": {"a|b": comparison.metrics["clean"]["a"]}})
    assert r"| a\|b | " in to_markdown(renamed, "clean", [])


def test_the_command_prints_and_writes(
    paths: dict[str, Path], split: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "new" / "c.json", tmp_path / "new" / "c.md"
    words = ["[a]={one}", "b={all}", "no camera/[a]={none}", "no camera/b={one}"]
    options = ["--out", str(out), "--markdown", str(page), "--classes-under", "no camera"]
    options += ["--caption", "400 steps each.", "--submission", *(word.format(**paths) for word in words)]
    assert main(["compare", *split, *options]) == 0
    screen = capsys.readouterr().out
    assert "400 steps each." in screen and "mini_val of v1.0-mini, 3 samples. Differences are to [a]" in screen
    assert "AP per class, no camera" in screen
    written = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert written["reference"] == "[a]" and written["samples"] == 3 and written["caption"] == "400 steps each."
    clean, blind = written["conditions"]["clean"], written["conditions"]["no camera"]
    assert clean["b"]["mean_ap"] == pytest.approx(0.2) and blind["[a]"]["mean_ap"] == 0
    assert clean["b"]["difference"]["mAP"] == pytest.approx(0.2 - ONE_OF_THREE / 10)
    assert clean["[a]"]["difference"] == {"NDS": None, "mAP": None} and "curves" not in clean["b"]
    assert page.read_text().startswith("400 steps each.\n\nmini_val of v1.0-mini, 3 samples.")


def test_names_are_sorted_by_condition() -> None:
    arranged = arrange({word: Path(word) for word in ("b", "no camera/a", "clean/a", "no camera/b")})
    assert list(arranged) == ["clean", "no camera"]
    assert arranged["no camera"] == {"b": Path("no camera/b"), "a": Path("no camera/a")}
    assert [list(models) for models in arranged.values()] == [["b", "a"], ["b", "a"]]
    assert arrange({"rain/a/b": Path("x")}) == {"rain": {"a/b": Path("x")}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a={one}", "b={all}", "no camera/a={one}"], "'b' has no submission under 'no camera', where other models"),
        (["a={one}", "no LiDAR/b={one}"], "'a' has no submission under 'no LiDAR'"),
        (["/a={one}"], "'/a' lacks a condition or a name"),
        (["no camera/={one}"], "lacks a condition or a name"),
        (["a={one}", "clean/a={all}"], "'a' is given twice under 'clean'"),
        (["a={one}", "a={all}"], "names 'a' twice"),
        (["a={one}", "--classes-under", "fog"], "'fog' is none of the conditions 'clean'"),
        (["a=absent.json"], "absent.json does not exist"),
        (["a={one}", "--markdown", "."], ". is a folder: name the file"),
    ],
)
def test_faults_are_one_sentence(
    paths: dict[str, Path], split: list[str], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["compare", *split, "--submission", *(word.format(**paths) for word in words)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_a_file_of_another_split_is_named(
    write_results, paths: dict[str, Path], tiny_dataroot: Path, tmp_path: Path
) -> None:
    other = write_results(tmp_path / "other.json", {"t0": []})
    truth = load_ground_truth(tiny_dataroot, "v1.0-mini", "mini_val")
    with pytest.raises(SubmissionError, match=r"other\.json does not hold the 3 samples"):
        compare(truth, {"clean": {"a": paths["one"], "b": other}})


@pytest.fixture
def scenes(make_gt) -> GroundTruth:
    """The three cars and the pedestrian in three scenes."""
    true = {
        "sample": [0, 0, 1, 2],
        "detection_name": ["car", "pedestrian", "car", "car"],
        "translation": [[10.0, 5, 1], [-5.0, 3, 1], [11.0, 5, 1], [12.0, 5, 1]],
        "velocity": [[2.0, 0.0]] * 4,
        "attribute_name": ["vehicle.moving", "pedestrian.moving", "vehicle.moving", "vehicle.moving"],
        "num_pts": [5] * 4,
    }
    return make_gt(("t0", "t1", "t2"), true, scenes=("s0", "s1", "s2"), name="three")


@pytest.fixture
def drawn(scenes: GroundTruth, paths: dict[str, Path]) -> Comparison:
    submissions = {"clean": {"one": paths["one"], "cars": paths["cars"], "again": paths["one"]}}
    return compare(scenes, submissions, draws=draw_scenes(scenes, 400))


def test_differences_have_intervals_over_the_same_draws(drawn: Comparison, comparison: Comparison) -> None:
    column = drawn.column("clean", "car")
    one, cars, again = column.values()
    # A draw holds the found car with its scene zero to three times of three; always found are all cars.
    assert one.interval and (one.interval.low, one.interval.high) == pytest.approx((0, ALL))
    assert cars.interval and (cars.interval.low, cars.interval.high) == pytest.approx((ALL, ALL))
    assert one.paired is None and cars.paired and cars.paired.value == cars.difference
    assert (cars.paired.low, cars.paired.high) == pytest.approx((0, ALL))
    assert cars.paired.above == pytest.approx(1 - 1 / 27, abs=0.03)  # unless s0 is drawn three times of three
    assert again.paired and (again.paired.low, again.paired.high, again.paired.above) == (0, 0, 0)
    assert all(score.interval is None for score in comparison.column("clean", "car").values())
    # Errors are better when they are lower.
    assert drawn.column("clean", "trans_err")["cars"].best is False
    error = drawn.column("clean", "attr_err")["cars"]
    assert error.interval and error.interval.low <= error.value <= error.interval.high


def test_the_table_of_intervals(drawn: Comparison) -> None:
    text = text_of(interval_table(drawn, "clean"), width=200)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80 and "95% intervals, clean" in text
    rows = [line.split() for line in text.splitlines()]
    first = next(number for number, row in enumerate(rows) if row[:2] == ["mAP", "one"])
    assert rows[first][2:] == ["0.0256", "[0.0000,", "0.1000]"]
    assert rows[first + 1][:6] == ["cars", "0.1000", "[0.1000,", "0.1000]", "+0.0744", "[+0.0000,"]
    assert rows[first + 2] == ["again", "0.0256", "[0.0000,", "0.1000]", "+0.0000", "[+0.0000,", "+0.0000]", "0%"]
    assert sum(row[-1:] == ["0%"] for row in rows) >= 7


def test_the_command_takes_files_and_draws_scenes(
    scenes: GroundTruth, paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gt, out, page = write_ground_truth(tmp_path / "three.gt", scenes), tmp_path / "c.json", tmp_path / "c.md"
    files = [str(paths["one"]), str(paths["cars"])]
    options = ["--gt", str(gt), "--draws", "50", "--seed", "3", "--workers", "1"]
    assert main(["compare", *files, *options, "--out", str(out), "--markdown", str(page)]) == 0
    screen = capsys.readouterr().out
    assert "Intervals: 95% of 50 draws of 3 scenes with replacement, seed 3." in screen
    written = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert written["draws"] == {"draws": 50, "scenes": 3, "seed": 3, "coverage": 0.95}
    cars = written["conditions"]["clean"]["cars"]
    assert cars["intervals"]["car"] == pytest.approx({"value": 1, "low": 1, "high": 1})
    assert cars["paired"]["mAP"]["low"] == pytest.approx(0) and cars["paired"]["mAP"]["above"] > 0.8
    assert written["conditions"]["clean"]["one"]["paired"] == {}
    lines = page.read_text().splitlines()
    assert "|  | model | value | interval | difference | interval | > 0 |" in lines
    assert any(line.startswith("| car | cars | 1.0000 | [1.0000, 1.0000] | +0.7444 |") for line in lines)

    assert main(["compare", *files, "--gt", str(gt), "--draws", "0", "--out", str(out)]) == 0
    assert "No intervals: --draws is 0." in capsys.readouterr().out
    written = json.loads(out.read_text())
    assert written["draws"] is None and written["conditions"]["clean"]["cars"]["intervals"] == {}


def test_one_scene_gives_no_interval(
    paths: dict[str, Path], split: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", str(paths["one"]), str(paths["cars"]), *split]
    assert main(words) == 0
    assert "No intervals: mini_val of v1.0-mini has one scene" in capsys.readouterr().out
    assert main([*words, "--draws", "10"]) == 2
    error = capsys.readouterr().err
    assert "has one scene" in error and error.count("\n") == 1
