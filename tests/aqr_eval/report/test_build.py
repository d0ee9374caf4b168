"""The whole page: what it holds, that it stands alone, and what happens with bad input."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from aqr_eval.evaluation import evaluate
from aqr_eval.ground_truth import load_ground_truth
from aqr_eval.nuscenes.errors import AqrError, DataError, SubmissionError
from aqr_eval.report.frames import FrameRequest
from aqr_eval.submission import load_submission

VOID = {"meta", "input", "br", "img"}
NO_FRAMES = FrameRequest(0, 0)


class Outline(HTMLParser):
    """Fails on tags that do not close in order; keeps the text and all addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.addresses, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_page_is_whole_and_stands_alone(build, scalars):
    page = build(scalars={"good": scalars}, title="Good & <empty>")
    parsed = outline(page)
    assert all(address.startswith(("data:image/", "#")) for address in parsed.addresses)
    assert not re.search(r"https?:|@import|<script|<link", page)
    assert "url(" not in page
    assert len(parsed.ids) == len(set(parsed.ids))
    text = "".join(parsed.text)
    assert "Good & <empty>" in text
    for heading in ("Classes", "Precision over recall", "Training loss", "Validation mAP", "Frames", "scene-a"):
        assert heading in text


def test_page_holds_the_numbers_of_the_metric(build, dataroot, submissions):
    truth = load_ground_truth(dataroot, "v1.0-mini", "all")
    metrics = evaluate(truth, load_submission(submissions["good"]))
    text = " ".join(outline(build()).text)
    for value in (metrics.mean_ap, metrics.nd_score, *metrics.tp_errors.values()):
        assert f"{value:.4f}" in text
    # Of ten classes two occur: the car is perfect, the cone is missed within 0.5 m only.
    assert metrics.mean_ap == pytest.approx(0.175)
    assert "0.750" in text
    assert "−0.1750" in text


def test_pictures_hold_the_counted_boxes_only(build):
    page = build(request=FrameRequest(0, ["s0"]))
    front, back = re.findall(r'<svg class="camera".*?</svg>', page, flags=re.DOTALL)
    # The distant car is out of range of the metric; the cone stands behind the vehicle.
    assert front.count("car true") == 1
    assert front.count("car 0.88") == 1
    assert "traffic cone" not in front
    assert back.count("traffic cone true") == 1
    assert "car" not in back
    # Car: front camera at x = 1, rear face at depth 17: 100 / 17 pixels per metre on a drawing five times as large.
    left, right, top, bottom = (f"{5 * (middle + side * 100 / 17):.1f}" for middle in (80, 45) for side in (-1, 1))
    for height in (top, bottom):
        assert f"M{right} {height}L{left} {height}" in front or f"M{left} {height}L{right} {height}" in front
    assert "car true, 10.0 m/s" in page


def test_score_threshold_hides_weak_boxes(build):
    page = build(request=FrameRequest(0, ["s0"], 0.7))
    assert "car 0.88" in page
    assert "traffic cone 0.62" not in page


def test_same_input_same_page(build, tmp_path):
    assert build() == build(out=tmp_path / "again.html")


def test_names_are_escaped(build, submissions):
    page = build(submissions={'<i>"&': submissions["good"], "b": submissions["empty"]})
    assert "<i>&quot;" not in page
    assert '<i>"&' in "".join(outline(page).text)


def test_no_samples_no_pictures(build):
    page = build(request=NO_FRAMES)
    assert "<image" not in page
    assert "Frames" not in "".join(outline(page).text)


@pytest.mark.parametrize("name", ["samples/CAM_FRONT/0.jpg", "samples/LIDAR_TOP/0.bin"])
def test_a_missing_file_is_named_and_nothing_is_written(build, dataroot, tmp_path, name):
    (dataroot / name).unlink()
    with pytest.raises(DataError, match=name):
        build(request=FrameRequest(0, ["s0"]))
    assert not list(tmp_path.glob("*report.html*"))


def test_damaged_files_are_named(build, dataroot):
    points = dataroot / "samples/LIDAR_TOP/0.bin"
    points.write_bytes(points.read_bytes()[:-3])
    with pytest.raises(DataError, match="57 bytes"):
        build(request=FrameRequest(0, ["s0"]))
    image = dataroot / "samples/CAM_FRONT/1.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError, match="CAM_FRONT/1.jpg cannot be decoded"):
        build(request=FrameRequest(0, ["s1"]))


@pytest.mark.parametrize(
    ("numbers", "message"), [((-1, 0), "worst = -1"), ((0, -1), "samples = -1"), ((0, 0, 1.5), "score_threshold = 1.5")]
)
def test_numbers_of_frames_are_in_range(numbers, message):
    with pytest.raises(AqrError, match=message):
        FrameRequest(*numbers)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"request": FrameRequest(0, ["nowhere"])}, DataError, "'nowhere' is not in"),
        ({"request": FrameRequest(0, ["s2"])}, DataError, "'s2' of scene-b is not in the split"),
        ({"draws": -1}, DataError, "-1 draws"),
        ({"submissions": {}}, AqrError, "at least one submission"),
        ({"scalars": {str(i): "x" for i in range(5)}}, AqrError, "7 submissions and runs"),
        ({"submissions": {"a": "/nowhere.json"}}, SubmissionError, "/nowhere.json"),
        ({"split": "unknown"}, DataError, "unknown"),
    ],
)
def test_bad_input_is_one_sentence(build, tmp_path, changes, error, message):
    with pytest.raises(error, match=message) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*report.html*"))


def test_figures_travel_with_the_page(build, tmp_path):
    """The bytes of the files are in the page, below their captions; a click enlarges and a click closes."""
    for name, kind in (("a.png", "PNG"), ("b", "JPEG")):
        Image.new("RGB", (4, 3), (200, 30, 30)).save(tmp_path / name, kind)
    page = build(request=NO_FRAMES, figures={"<v3>": tmp_path / "a.png", "v1": tmp_path / "b"})
    parts = outline(page)
    assert {"Pictures", "<v3>", "v1"} <= set(parts.text)
    uris = [address for address in parts.addresses if address.startswith("data:image")]
    assert [uri.partition(",")[0] for uri in uris] == ["data:image/png;base64", "data:image/jpeg;base64"]
    assert base64.b64decode(uris[0].partition(",")[2]) == (tmp_path / "a.png").read_bytes()
    assert {"pictures", "picture-0", "picture-1"} <= set(parts.ids)
    assert parts.addresses.count("#pictures") == 3 and 'alt="&lt;v3&gt;"' in page


def test_without_figures_there_is_no_such_section(build):
    assert "Pictures" not in outline(build(request=NO_FRAMES)).text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "figure.png is missing"),
        (b"no picture", "figure.png cannot be decoded"),
        (b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", "is a GIF file: convert it to PNG"),
    ],
)
def test_a_bad_figure_is_named(build, tmp_path, content, message):
    path = tmp_path / "figure.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        build(request=NO_FRAMES, figures={"broken": path})
