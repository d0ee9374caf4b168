"""What a forward pass keeps, counted on layers whose memory is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from aqr_core.structures import Batch, Sample
from aqr_train.estimate.activations import kept_by_part, measure_activations

HEAD = "head: codes of positions and queries"


class _Head(nn.Module):
    """Two layers of 4 -> 4 and a sigmoid between; saves the input of each and the output of the sigmoid once."""

    def __init__(self, with_cp: bool) -> None:
        super().__init__()
        self.a, self.b, self.with_cp = nn.Linear(4, 4), nn.Linear(4, 4), with_cp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.work, x, use_reentrant=False) if self.with_cp else self.work(x)

    def work(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x).sigmoid())

    def decode(self) -> None: ...


class _Model(nn.Module):
    def __init__(self, with_cp: bool = False) -> None:
        super().__init__()
        self.pts_bbox_head = _Head(with_cp)

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        x = batch.images.flatten(1)[:, :4] + 1  # (B, 4), a storage of its own
        return {"loss": self.pts_bbox_head(x).sum()}


@pytest.fixture
def sample() -> Sample:
    return Sample(
        token="a",
        points=torch.zeros(1, 5),
        images=torch.zeros(1, 3, 2, 2),
        lidar2img=torch.eye(4, dtype=torch.float64)[None],
        gt_boxes=torch.zeros(0, 9),
        gt_labels=torch.zeros(0, dtype=torch.int64),
        seed=0,
    )


def test_each_storage_counts_once_and_grows_with_the_batch(sample: Sample) -> None:
    found = measure_activations(_Model(), sample, "fp32")
    assert found.per_sample[HEAD] == 2 * 4 * 4  # input and sigmoid, four floats each; the sigmoid is saved twice
    assert found.fixed[HEAD] == 0
    assert sum(found.of_batch(3).values()) == 3 * 32


def test_autocast_keeps_halves_and_a_copy_of_the_weights(sample: Sample) -> None:
    found = measure_activations(_Model(), sample, "bf16")
    assert found.per_sample[HEAD] == 2 * 4 * 2
    assert found.fixed[HEAD] == 4 * 4 * 2  # of `b`; the gradient of `a`'s input is not asked for


def test_a_recomputed_block_keeps_its_input_only(sample: Sample) -> None:
    model = _Model(with_cp=True)
    assert measure_activations(model, sample, "fp32").per_sample[HEAD] == 4 * 4


def test_frozen_layers_keep_nothing(sample: Sample) -> None:
    from aqr_core.data import collate

    model = _Model()
    model.pts_bbox_head.requires_grad_(False)
    assert sum(kept_by_part(model, collate([sample]), "fp32").values()) == 0
