"""The grid mask against its description, cell by cell."""

from __future__ import annotations

import torch

from aqr_core.models.grid_mask import GridMask, _stripes


def stripes_by_loop(size: int, period: int, stripe: int, offset: int) -> list[bool]:
    """Draw stripes on the 1.5 times larger canvas and cut out its centre."""
    canvas = [False] * int(1.5 * size)
    for i in range(len(canvas) // period):
        for position in range(period * i + offset, min(period * i + offset + stripe, len(canvas))):
            canvas[position] = True
    start = (len(canvas) - size) // 2
    return canvas[start : start + size]


def test_stripes():
    for size, period, stripe, offset in [(32, 7, 4, 0), (32, 7, 4, 6), (32, 31, 16, 30), (9, 2, 1, 1), (20, 19, 9, 0)]:
        assert _stripes(size, period, stripe, offset).tolist() == stripes_by_loop(size, period, stripe, offset)


def test_holes_are_squares_shared_by_all_images_and_the_rest_is_untouched():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 40, 60) + 1
    masked = GridMask(probability=1.0)(images)
    hole = masked[0, 0] == 0
    assert 0 < hole.float().mean() < 0.6
    assert torch.equal(masked == 0, hole.expand(2, 3, 40, 60))
    assert torch.equal(masked[:, :, ~hole], images[:, :, ~hole])
    rows, columns = hole.any(1), hole.any(0)
    assert torch.equal(hole, rows[:, None] & columns[None, :])


def test_same_seed_same_mask_and_never_in_evaluation():
    images = torch.ones(1, 3, 40, 60)
    mask = GridMask(probability=1.0)
    torch.manual_seed(3)
    first = mask(images)
    torch.manual_seed(3)
    assert torch.equal(mask(images), first)
    assert torch.equal(mask.eval()(images), images)
    assert torch.equal(GridMask(probability=0.0)(images), images)
