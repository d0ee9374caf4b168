from __future__ import annotations

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, save_checkpoint
from aqr_train.baseline import export_half


def test_exported_weights_are_half_as_large_and_load_as_float32(tmp_path):
    source, target = nn.BatchNorm1d(4096), nn.BatchNorm1d(4096)
    nn.init.uniform_(source.weight)
    trained = save_checkpoint(
        tmp_path / "run", source, "seed = 0\n", {"step": 1}, extra=lambda f: (f / "state.pt").touch()
    )
    export_half(trained, tmp_path / "weights" / "net")
    assert sorted(path.name for path in (tmp_path / "weights" / "net").iterdir()) == [
        "config.py",
        "meta.json",
        "model.safetensors",
    ]
    load_weights(target, tmp_path / "weights" / "net")
    assert target.weight.dtype == torch.float32 and target.num_batches_tracked.dtype == torch.int64
    torch.testing.assert_close(target.weight, source.weight, rtol=2**-11, atol=0)
    size = (trained / "model.safetensors").stat().st_size
    assert (tmp_path / "weights" / "net" / "model.safetensors").stat().st_size < 0.52 * size


def test_numbers_beyond_half_precision_are_not_exported(tmp_path):
    source = nn.BatchNorm1d(2)
    source.running_var.fill_(1e6)
    trained = save_checkpoint(tmp_path / "run", source, "", {"step": 1})
    with pytest.raises(OverflowError, match="running_var does not fit"):
        export_half(trained, tmp_path / "net")
    assert not (tmp_path / "net").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
