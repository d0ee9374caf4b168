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


def mask_by_loop(height: int, width: int, period: int, row_offset: int, column_offset: int) -> torch.Tensor:
    """The whole grid drawn naively: 1.5 times larger canvas, stripes of both directions, centre crop, 1 in stripes."""
    stripe = min(max(int(period / 2 + 0.5), 1), period - 1)
    rows, columns = int(1.5 * height), int(1.5 * width)
    canvas = torch.zeros(rows, columns)
    for i in range(rows // period):
        canvas[period * i + row_offset : min(period * i + row_offset + stripe, rows), :] = 1
    for i in range(columns // period):
        canvas[:, period * i + column_offset : min(period * i + column_offset + stripe, columns)] = 1
    top, left = (rows - height) // 2, (columns - width) // 2
    return canvas[top : top + height, left : left + width]


def test_the_mask_is_that_of_the_naive_drawing():
    """Period from [2, height), offsets from [0, period), in this order from torch's generator."""
    mask = GridMask(probability=1.0)
    periods = []
    for seed in range(60):
        height, width = (40, 60) if seed % 2 else (33, 91)
        torch.manual_seed(seed)
        masked = mask(torch.ones(2, 3, height, width))
        torch.manual_seed(seed)
        torch.rand(())  # whether to mask
        period = int(torch.randint(2, height, ()))
        row_offset, column_offset = (int(torch.randint(0, period, ())) for _ in range(2))
        expected = mask_by_loop(height, width, period, row_offset, column_offset)
        assert torch.equal(masked, expected.expand(2, 3, height, width))
        periods.append(period)
    assert min(periods) <= 4 and max(periods) >= 36


def test_seven_batches_of_ten_are_masked():
    torch.manual_seed(0)
    mask, images = GridMask(), torch.ones(1, 3, 8, 8)
    assert abs(sum(bool((mask(images) == 0).any()) for _ in range(2000)) / 2000 - 0.7) < 0.08


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
