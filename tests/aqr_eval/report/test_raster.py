"""Charts as PNG files: that what is drawn is there, where it belongs, in its colour."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aqr_eval.report.charts import Axis, Line
from aqr_eval.report.figures import Figure, LinePanel, RowPanel
from aqr_eval.report.png import save_png
from aqr_eval.report.raster import Raster, text_width
from aqr_eval.report.raster_panels import Style
from aqr_eval.report.rows import Mark, Row

SCALE = 2  # pixels per point
UNIT = Axis(0, 1, (0.0, 0.5, 1.0), "recall")


def _saved(sheet: Raster, path: Path) -> np.ndarray:
    sheet.save(path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def _is(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(H, W) whether a pixel has about this colour."""
    return np.abs(image - color).max(axis=2) < 40


def test_shapes_lie_where_they_are_drawn(tmp_path):
    sheet = Raster(60, 40)
    sheet.rectangle((30, 20), (10, 10), "#ff0000")
    sheet.dot((50, 30), 4, "#0000ff")
    sheet.line([(10, 35), (30, 35)], "#00ff00", 2)
    image = _saved(sheet, tmp_path / "a.png")
    assert image.shape == (40 * SCALE, 60 * SCALE, 3)
    for color, area in (((255, 0, 0), 20 * 10), ((0, 0, 255), math.pi * 16), ((0, 255, 0), 20 * 2)):
        assert _is(image, color).sum() == pytest.approx(area * SCALE**2, rel=0.3)  # of a thin line the edges are mixed
    rows, columns = np.nonzero(_is(image, (255, 0, 0)))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == pytest.approx((20, 40, 20, 60), abs=1)


def test_dashes_leave_gaps(tmp_path):
    sheet = Raster(120, 10)
    sheet.line([(0, 5), (60, 5), (120, 5)], "#000000", 2, dash=(6, 4))
    inked = _is(_saved(sheet, tmp_path / "a.png"), (0, 0, 0))[5 * SCALE]
    assert inked.mean() == pytest.approx(0.6, abs=0.05)
    assert np.count_nonzero(np.diff(inked.astype(int)) == -1) == 12


def test_pale_is_mixed_with_white(tmp_path):
    sheet = Raster(10, 10)
    sheet.rectangle((0, 0), (10, 10), "#000000", opacity=0.25)
    assert _saved(sheet, tmp_path / "a.png")[5, 5].tolist() == [191, 191, 191]


def test_text_takes_the_width_that_it_says(tmp_path):
    text = "construction vehicle −0.123 é"
    for words in (text, text[:-2]):  # by a font of the system where one is needed and there
        sheet = Raster(300, 30)
        sheet.text((10, 20), words, 9, "#000000")
        columns = np.nonzero(_is(_saved(sheet, tmp_path / "a.png"), (0, 0, 0)))[1]
        assert (columns.max() - columns.min()) / SCALE == pytest.approx(text_width(words, 9), abs=3)


def test_text_upwards_is_high_and_narrow(tmp_path):
    sheet = Raster(40, 100)
    sheet.upward_text((20, 50), "precision", 9, "#000000")
    rows, columns = np.nonzero(_is(_saved(sheet, tmp_path / "a.png"), (0, 0, 0)))
    assert np.ptp(rows) > 3 * np.ptp(columns)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(50 * SCALE, abs=3)


@pytest.mark.parametrize(
    ("css", "style"),
    [
        ("submission-0", {"opacity": 1.0, "dash": None}),
        ("submission-1 within-2", {"opacity": 0.48}),
        ("ideal", {"dash": (4.0, 3.0), "width": 1.0}),
        ("sensor-lidar", {"color": "#d08a00"}),
    ],
)
def test_styles_follow_the_sheet_of_the_page(css, style):
    assert {name: getattr(Style.of(css), name) for name in style} == style


def test_a_figure_of_curves(tmp_path):
    x = np.linspace(0, 1, 11)
    panels = [LinePanel(f"class {i}", "0.5", [Line(x, 1 - x, "submission-0")], UNIT, UNIT) for i in range(7)]
    path = save_png(Figure("curves", "title", [("submission-0", "mine")], panels), "Precision", tmp_path)
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue = _is(image, (47, 111, 237))
    assert path.name == "curves.png" and blue[: image.shape[0] // 2].any() and blue[image.shape[0] // 2 :].any()
    assert not list(tmp_path.glob(".*"))


def test_rows_with_unknown_values(tmp_path):
    rows = [
        Row("NDS", [Mark(0.5, "submission-0", (0.4, 0.6)), Mark(math.nan, "submission-1")]),
        Row("mAP", [Mark(-0.2, "submission-0"), Mark(2.0, "submission-1")]),  # beyond the axis: drawn to its end
    ]
    panel = RowPanel("rows", "", rows, Axis(-0.5, 1, (-0.5, 0.0, 0.5, 1.0)))
    path = save_png(Figure("rows", "", [], [panel], large=True), "Rows", tmp_path)
    assert Image.open(path).size[0] == (320 + 36) * SCALE
