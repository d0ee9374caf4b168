"""Windows against cells and tokens worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.projection import MapShapes, QueryCells, locate_queries
from aqr_core.models.aqr.windows import build_windows, check_views, check_window_edges

RANGE = (-8.0, -8.0, -4.0, 8.0, 8.0, 4.0)
PAD_SHAPE = (32, 64)
SHAPES = MapShapes(bev=(8, 8), image=(2, 4, 8))  # cells of 2 m and of 8 px; 64 BEV tokens, then 2 x 32


def forward_camera(u0: float = 32.0) -> torch.Tensor:
    """Camera at the origin looking along +y (u right = x, v down = -z), focal length 32 px, centre (u0, 16)."""
    lidar2cam = torch.tensor([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    cam2img = torch.eye(4, dtype=torch.float64)
    cam2img[0, 0] = cam2img[1, 1] = 32
    cam2img[0, 2], cam2img[1, 2] = u0, 16
    return cam2img @ lidar2cam


def locate(points_m, matrices=None, shapes=SHAPES, cell_m=(2.0, 2.0)) -> QueryCells:
    low, high = torch.tensor(RANGE[:3]), torch.tensor(RANGE[3:])
    reference = ((torch.tensor(points_m) - low) / (high - low))[None]
    matrices = [forward_camera(), forward_camera(8.0)] if matrices is None else matrices
    return locate_queries(
        reference, torch.stack(matrices)[None], shapes=shapes, pad_shape=PAD_SHAPE, pc_range=RANGE, cell_m=cell_m
    )


def tokens(cells: QueryCells, edges: tuple[int, int], query: int = 0, views: str = "all") -> set[int]:
    table = build_windows(cells, edges, views)
    chosen = table.index[0, query][table.valid[0, query]].tolist()
    assert len(chosen) == len(set(chosen))
    return set(chosen)


def test_cells_by_hand():
    # (1, 4, 0): BEV row (4+8)/2 = 6, col (1+8)/2 = 4. Camera 0: u = 32*1/4 + 32 = 40, v = 16: cell (2, 5).
    # Camera 1: u = 16: cell (2, 2).
    cells = locate([[1.0, 4.0, 0.0]])
    assert cells.bev_cell[0, 0].tolist() == [6, 4]
    assert cells.image_cell[0, 0].tolist() == [[2, 5], [2, 2]]
    assert cells.in_bev.all() and cells.visible.all()


def test_interior_windows_have_exactly_w_by_w_cells():
    cells = locate([[1.0, 1.0, 0.0]], [forward_camera()], MapShapes((8, 8), None))
    assert tokens(cells, (1, 3)) == {r * 8 + c for r in (3, 4, 5) for c in (3, 4, 5)}
    assert tokens(cells, (1, 4)) == {r * 8 + c for r in (3, 4, 5, 6) for c in (3, 4, 5, 6)}  # -1 .. 2
    assert tokens(cells, (1, 1)) == {4 * 8 + 4}


def test_corner_drops_cells_instead_of_clamping():
    cells = locate([[-7.9, -7.9, 0.0]], [forward_camera()], MapShapes((8, 8), None))
    assert tokens(cells, (1, 3)) == {0, 1, 8, 9}


def test_last_column_does_not_wrap_into_the_next_row():
    cells = locate([[7.9, 1.0, 0.0]], [forward_camera()], MapShapes((8, 8), None))
    assert cells.bev_cell[0, 0].tolist() == [4, 7]
    assert tokens(cells, (1, 3)) == {30, 31, 38, 39, 46, 47}


def test_reference_of_exactly_one_is_outside_the_map():
    cells = locate([[8.0, 8.0, 4.0], [8.0, 0.0, 0.0]], [forward_camera()], MapShapes((8, 8), None))
    assert not cells.in_bev.any()
    assert tokens(cells, (1, 5)) == set() and tokens(cells, (1, 5), query=1) == set()


def test_cells_come_from_metres_where_the_map_does_not_fill_the_range():
    # 8 cells of 1.6 m from -8: 12.8 m of 16. x = 1 is cell 5, not 4; x = 5 is off the map.
    cells = locate([[1.0, 1.0, 0.0], [5.0, 1.0, 0.0]], [forward_camera()], MapShapes((8, 8), None), (1.6, 1.6))
    assert cells.bev_cell[0, 0].tolist() == [5, 5]
    assert cells.in_bev[0].tolist() == [True, False]


def test_point_behind_a_camera_has_no_image_window():
    cells = locate([[0.0, -4.0, 0.0], [0.0, 5e-4, 0.0]])  # behind, and nearer than 1 mm
    assert not cells.visible.any()
    assert tokens(cells, (3, 1)) == {2 * 8 + 4}  # its BEV cell alone


def test_point_seen_by_two_cameras_has_a_window_in_both():
    cells = locate([[1.0, 4.0, 0.0]])
    near_0 = {64 + r * 8 + c for r in (1, 2, 3) for c in (4, 5, 6)}
    near_1 = {64 + 32 + r * 8 + c for r in (1, 2, 3) for c in (1, 2, 3)}
    assert tokens(cells, (3, 1)) == {6 * 8 + 4} | near_0 | near_1
    assert tokens(cells, (3, 1), views="first") == {6 * 8 + 4} | near_0


def test_point_seen_by_the_second_camera_alone_keeps_its_camera():
    # x = 6, y = 4: camera 0 u = 80 outside, camera 1 u = 56: cell (2, 7), the last column.
    cells = locate([[6.0, 4.0, 0.0]])
    assert cells.visible[0, 0].tolist() == [False, True]
    expected = {7 + 6 * 8} | {64 + 32 + r * 8 + c for r in (1, 2, 3) for c in (6, 7)}
    assert tokens(cells, (3, 1)) == expected == tokens(cells, (3, 1), views="first")


def test_point_seen_by_no_camera_and_off_the_map_has_no_window():
    cells = locate([[8.0, -8.0, 0.0], [1.0, 4.0, 0.0]])
    assert tokens(cells, (3, 3)) == set()


def test_window_never_reaches_another_camera():
    # v = 0 in camera 1: row 0. Its window may not reach the last row of camera 0.
    cells = locate([[0.0, 4.0, 2.0]])
    assert cells.image_cell[0, 0].tolist() == [[0, 4], [0, 1]]
    assert tokens(cells, (3, 1)) & set(range(64, 96)) == {64 + r * 8 + c for r in (0, 1) for c in (3, 4, 5)}


def test_distances_are_those_of_the_offsets():
    table = build_windows(locate([[1.0, 4.0, 0.0]]), (1, 3))
    assert table.distance_sq[:9].tolist() == [2, 1, 2, 1, 0, 1, 2, 1, 2]
    assert table.is_camera.tolist() == [False] * 9 + [True] * 2


def test_each_modality_may_be_absent():
    lidar_only = locate_queries(
        torch.full((1, 1, 3), 0.5),
        None,
        shapes=MapShapes((8, 8), None),
        pad_shape=PAD_SHAPE,
        pc_range=RANGE,
        cell_m=(2, 2),
    )
    assert tokens(lidar_only, (3, 1)) == {4 * 8 + 4}
    camera_only = locate([[1.0, 4.0, 0.0]], [forward_camera()], MapShapes(None, (1, 4, 8)))
    assert tokens(camera_only, (1, 3)) == {2 * 8 + 5}


@settings(max_examples=50, deadline=None)
@given(
    x=st.floats(-8, 8, width=32),
    y=st.floats(-8, 8, width=32),
    z=st.floats(-4, 4, width=32),
    camera=st.integers(1, 9),
    lidar=st.integers(1, 9),
)
def test_windows_equal_a_double_loop(x, y, z, camera, lidar):
    cells = locate([[x, y, z]])
    expected = set()

    def around(row, col, edge, rows, cols, first):
        for dr in range(-((edge - 1) // 2), edge // 2 + 1):
            for dc in range(-((edge - 1) // 2), edge // 2 + 1):
                if 0 <= row + dr < rows and 0 <= col + dc < cols:
                    expected.add(first + (row + dr) * cols + col + dc)

    if cells.in_bev[0, 0]:
        around(*cells.bev_cell[0, 0].tolist(), lidar, 8, 8, 0)
    for n in range(2):
        if cells.visible[0, 0, n]:
            around(*cells.image_cell[0, 0, n].tolist(), camera, 4, 8, 64 + 32 * n)
    assert tokens(cells, (camera, lidar)) == expected


@pytest.mark.parametrize("edges", [0, -1, (1, 2, 3), (4, 0), 2.5, (1.0, 2)])
def test_bad_window_edges_are_named(edges):
    with pytest.raises(ConfigError, match="window_size"):
        check_window_edges("window_size", edges)


def test_window_edges_are_camera_then_lidar():
    assert check_window_edges("window_sizes", 8) == (8, 8)
    assert check_window_edges("window_sizes", [8, 5]) == (8, 5)


def test_unknown_views_are_named():
    with pytest.raises(ConfigError, match="'best'.*'all' and 'first'"):
        check_views("best")
