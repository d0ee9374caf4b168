from __future__ import annotations

import torch

from aqr_core.structures import Batch


def test_batch_moves_whole():
    batch = Batch(
        tokens=["a", "b"],
        points=[torch.zeros(3, 5), torch.zeros(0, 5)],
        images=torch.zeros(2, 6, 3, 32, 64),
        lidar2img=torch.zeros(2, 6, 4, 4, dtype=torch.float64),
        gt_boxes=[torch.zeros(1, 9), torch.zeros(0, 9)],
        gt_labels=[torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)],
        seeds=[1, 2],
        working=torch.tensor([[True, False], [True, True]]),
    )
    assert len(batch) == 2
    assert batch.pad_shape == (32, 64)
    moved = batch.to("meta")
    tensors = [moved.images, moved.lidar2img, moved.working, *moved.points, *moved.gt_boxes, *moved.gt_labels]
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert (moved.tokens, moved.seeds) == (batch.tokens, batch.seeds)
    assert moved.lidar2img.dtype == torch.float64
