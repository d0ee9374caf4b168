"""What is drawn, where it is drawn, and in which colour; numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from aqr_train.pictures.colors import WEIGHT_MAP, weight_norm
from aqr_train.pictures.figure import draw_weights, render, write_png
from aqr_train.pictures.panels import draw_bev, draw_image, mean_per_cell
from aqr_train.pictures.windows import WindowRectangle

AHEAD = [10.0, 20.0, 0.0]  # BEV cell (26, 21); pixel (226, 64), image cell (4, 14)
CORNER = [31.9, -31.9, 0.0]  # BEV cell (0, 31), behind the camera


def rectangles(axes) -> list[tuple[float, float, float, float]]:
    """x0, y0, x1, y1 of the patches of a panel."""
    return [tuple(patch.get_bbox().extents.tolist()) for patch in axes.patches]


def test_windows_of_a_known_metre(scene):
    one = scene([AHEAD, CORNER])
    assert one.windows(0) == [
        WindowRectangle(None, top=24, bottom=29, left=19, right=24),  # 5 x 5 about (26, 21)
        WindowRectangle(0, top=3, bottom=7, left=13, right=17),  # 4 x 4: one more below and to the right of (4, 14)
    ]
    assert one.windows(1) == [WindowRectangle(None, top=0, bottom=3, left=29, right=32)]  # cut at two borders


def test_rectangles_lie_on_the_object(scene):
    one = scene([AHEAD, CORNER])
    windows = {query: one.windows(query) for query in (0, 1)}
    bev, image = Figure().subplots(1, 2)
    norm = weight_norm(one.weights, 0.0)
    draw_bev(bev, one, windows, [0, 1], norm)
    draw_image(image, one, 0, windows, [0, 1], norm)
    assert rectangles(bev) == [(6, 16, 16, 26), (26, -32, 32, -26)]  # metres
    assert rectangles(image) == [(208, 48, 272, 112)]  # pixels
    dots = [tuple(line.get_xydata()[0]) for line in bev.lines if line.get_marker() == "o"]
    assert dots == [(11, 21), (31, -31)]  # middles of the queries' cells
    assert [text.get_text() for text in image.texts] == ["0: L +0.20 C -0.10"]
    assert bev.patches[0].get_edgecolor() == image.patches[0].get_edgecolor() != bev.patches[1].get_edgecolor()


def test_a_query_colours_its_cell_by_its_weight(scene):
    """Two queries share BEV cell (26, 21): mean 0.2. Blue below neutral, red above, nothing where no query is."""
    one = scene([AHEAD, [10.5, 20.5, 0.0]], weights=[[0.3, -0.1], [0.1, -0.3]])
    bev, image = Figure().subplots(1, 2)
    norm = weight_norm(one.weights, 0.0)
    draw_bev(bev, one, {}, [], norm)
    draw_image(image, one, 0, {}, [], norm)
    overlay = bev.images[0].get_array()
    red, _, blue = overlay[26, 21, :3]
    assert overlay[26, 21, :3].tolist() == pytest.approx(WEIGHT_MAP(norm(0.2))[:3])
    assert red > blue
    assert (overlay[..., 3] > 0).sum() == 1
    overlay = image.images[1].get_array()
    red, _, blue = overlay[4, 14, :3]
    assert blue > red and (overlay[..., 3] > 0).sum() == 1


def test_cells_without_query_are_nan():
    cells = np.array([[0, 1], [0, 1], [1, 0]])
    expected = [[np.nan, 0.5], [-1.0, np.nan]]
    np.testing.assert_equal(mean_per_cell(cells, np.array([0.25, 0.75, -1.0]), (2, 2)), expected)


@pytest.mark.parametrize(("spread", "limit"), [(0.0, 0.05), (0.04, 0.05), (0.21, 0.3), (0.7, 1.0), (3.2, 4.0)])
def test_colours_are_symmetric_about_neutral(spread, limit):
    norm = weight_norm(np.array([1.0, 1.0 - spread]), 1.0)
    assert (norm.vmin, norm.vmax) == pytest.approx((1 - limit, 1 + limit))
    assert norm(1.0) == 0.5


@pytest.mark.parametrize("variant", ["v1", "v3"])
@pytest.mark.parametrize("sensors", ["lc", "l", "c"])
def test_every_variant_and_sensor_gives_a_picture(scene, tmp_path, variant, sensors):
    figure = draw_weights(scene([AHEAD, CORNER], variant=variant, sensors=sensors))
    path = tmp_path / "new" / "a.png"
    write_png(path, figure, dpi=30)
    with Image.open(path) as image:
        assert image.width == 450
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]  # nothing temporary is left
    assert render(figure, dpi=20).shape[1:] == (300, 3)


def test_chosen_queries_are_listed_in_their_order(scene):
    points = [[float(x), 20.0, 0.0] for x in range(-8, 8, 2)]
    texts = [
        text.get_text()
        for text in draw_weights(scene(points), [3, 1, 3]).findobj(match=lambda a: hasattr(a, "get_text"))
    ]
    assert [text for text in texts if text in ("1", "3")] == ["3", "1"]
    assert scene(points).best_queries(2) == [0, 1]


def test_a_map_that_changes_nothing_stays_unseen(scene):
    one = scene([AHEAD], variant="v1", weights=[[1.2, 0.9]])
    axes = Figure().subplots()
    draw_bev(axes, one, {}, [], weight_norm(one.weights, 1.0))
    assert not axes.images[0].get_array()[..., 3].any()
    assert one.write_weights(0) == ("1.20", "0.90")
