"""What a part says on the page, in Markdown and as PNG; what a report says of the parts it lacks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from aqr_eval.evaluation import evaluate
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.report.findings import find_out
from aqr_eval.report.frames import FrameRequest
from aqr_eval.report.parts import Part
from aqr_eval.report.plain_tables import PlainTable
from aqr_eval.submission import load_submission

NO_FRAMES = FrameRequest(0, 0)


@pytest.fixture
def two_scenes(dataroot):
    """The split `all` whose second sample is of a scene of its own, so that there is something to draw from."""
    truth = load_ground_truth(dataroot, "v1.0-mini", "all")
    object.__setattr__(truth, "scenes", ("scene-a", "scene-b"))
    return truth


def test_a_table_is_the_same_on_the_page_and_in_markdown():
    table = PlainTable("a <b>", ["Class", "x|y"], [["car_1", "0.5"]])
    assert "<h3>a &lt;b&gt;</h3>" in table.to_html() and '<th scope="row">car_1</th><td>0.5</td>' in table.to_html()
    assert table.to_markdown() == "**a \\<b>**\n\n| Class | x\\|y |\n| --- | ---: |\n| car\\_1 | 0.5 |"


def test_a_part_without_tables_is_not_in_markdown():
    assert Part("Pictures", "Click.", html="<img>").to_markdown() == ""
    part = Part("Heading", "Lead.", tables=[PlainTable("", ["a"], [["b"]])])
    assert part.to_markdown() == "## Heading\n\nLead.\n\n| a |\n| --- |\n| b |"
    assert part.to_html().startswith("<details><summary>Heading in numbers</summary>")


def test_markdown_holds_the_numbers_of_the_metric(build, dataroot, submissions, tmp_path):
    build(markdown=tmp_path / "report.md", title="Good & <empty>", request=NO_FRAMES)
    text = (tmp_path / "report.md").read_text()
    metrics = evaluate(load_ground_truth(dataroot, "v1.0-mini", "all"), load_submission(submissions["good"]))
    assert text.startswith("# Good & <empty>\n") and text.endswith("|\n") and "\n\n\n" not in text
    assert f"| good | {metrics.mean_ap:.4f} | {metrics.nd_score:.4f} |" in text
    for heading in ("Classes", "Breakdown", "Mistakes", "Calibration"):
        assert f"\n## {heading}\n" in text
    assert "| traffic cone | 2 | 0.750 | 0.000 | 1.000 | 1.000 | 1.000 | 0.700 |" in text


def test_every_chart_is_a_png_that_can_be_read(build, scalars, tmp_path):
    build(png=tmp_path / "charts", scalars={"good": scalars}, request=NO_FRAMES)
    found = {path.stem: path for path in (tmp_path / "charts").iterdir()}
    names = {"precision_recall", "precision_recall_1", "precision_recall_2"}
    assert set(found) == names | {"breakdown", "mistakes", "calibration", "training"}
    for path in found.values():
        with Image.open(path) as image:
            assert image.width > 600 and image.height > 200
            assert np.asarray(image.convert("L")).std() > 5, f"{path} is blank"


def test_intervals_hold_their_value_and_differences_go_to_the_first(two_scenes, submissions, tmp_path):
    found = find_out(two_scenes, submissions, draws=50, workers=1)
    assert found.left_out == () and found.best == "good"
    for one in found.intervals.values():
        assert all(each.low <= each.value + 1e-9 and each.value <= each.high + 1e-9 for each in one.of.values())
    assert list(found.differences) == ["empty"]
    assert found.differences["empty"]["mAP"].value == pytest.approx(-0.175)


def test_what_cannot_be_found_out_is_said(build, dataroot, submissions, tmp_path):
    """One scene is none to draw from; a score of 2 is no probability."""
    content = json.loads(submissions["good"].read_text())
    content["results"]["s0"][0]["detection_score"] = 2.0
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps(content))
    page = build(submissions={"odd": odd}, markdown=tmp_path / "report.md", request=NO_FRAMES)
    for text in (page, (tmp_path / "report.md").read_text()):
        assert "No confidence intervals. " in text and "has one scene (scene-a)" in text
        assert "No calibration of odd. A score of 2 is no probability" in text
    assert "Calibration in numbers" not in page


def test_no_draws_no_intervals_and_no_excuse(two_scenes, submissions):
    found = find_out(two_scenes, submissions, draws=0, workers=1)
    assert found.intervals == {} and found.differences == {} and found.left_out == ()
