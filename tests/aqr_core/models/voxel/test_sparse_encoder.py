"""The sparse encoder against the same network on dense tensors, masked to the active cells."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import conv3d, max_pool3d

from aqr_core.errors import ConfigError
from aqr_core.models.voxel import SparseEncoder

SHAPE = (25, 24, 32)
TINY = dict(
    in_channels=5,
    sparse_shape=SHAPE,
    output_channels=6,
    base_channels=4,
    encoder_channels=((4, 4, 8), (8, 8, 8), (8, 8, 12), (12, 12)),
    encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, [0, 1, 1]), (0, 0)),
)


def cloud(batch_size: int = 2, count: int = 300, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(batch_size * SHAPE[0] * SHAPE[1] * SHAPE[2], generator=generator)[:count]
    coords = torch.stack(torch.unravel_index(cells, (batch_size, *SHAPE)), dim=1)
    return torch.randn(count, 5, generator=generator), coords


def randomise_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.bias, std=0.1)


def dense_encoder(model: SparseEncoder, features: torch.Tensor, coords: torch.Tensor, batch_size: int) -> torch.Tensor:
    """The encoder re-implemented with conv3d and occupancy masks, evaluation mode."""
    x = torch.zeros(batch_size, 5, *SHAPE, dtype=features.dtype)
    x[coords[:, 0], :, coords[:, 1], coords[:, 2], coords[:, 3]] = features
    mask = torch.zeros(batch_size, 1, *SHAPE, dtype=features.dtype)
    mask[coords[:, 0], :, coords[:, 1], coords[:, 2], coords[:, 3]] = 1

    def norm(layer, value):
        shape = (1, -1, 1, 1, 1)
        scale = layer.weight / (layer.running_var + layer.eps).sqrt()
        return value * scale.view(shape) + (layer.bias - layer.running_mean * scale).view(shape)

    def conv(layer, value, stride=1, padding=1):
        return conv3d(value, layer.weight.permute(0, 4, 1, 2, 3), stride=stride, padding=padding)

    def down(block, value, mask, kernel, stride, padding):
        mask = max_pool3d(nn.functional.pad(mask, [p for p in padding[::-1] for _ in range(2)]), kernel, stride)
        return norm(block[1], conv(block[0], value, stride, padding)).relu() * mask, mask

    x = norm(model.conv_input[1], conv(model.conv_input[0], x)).relu() * mask
    for i, stage in enumerate(model.encoder_layers):
        for block in stage:
            if hasattr(block, "conv1"):
                inner = norm(block.bn1, conv(block.conv1, x)).relu() * mask
                x = (norm(block.bn2, conv(block.conv2, inner)) + x).relu() * mask
            else:
                x, mask = down(block, x, mask, 3, 2, (0, 1, 1) if i == 2 else (1, 1, 1))
    x, _ = down(model.conv_out, x, mask, (3, 1, 1), (2, 1, 1), (0, 0, 0))
    return torch.stack([x[:, c, z] for c in range(x.shape[1]) for z in range(x.shape[2])], dim=1)


def test_equals_the_dense_network():
    torch.manual_seed(0)
    model = SparseEncoder(**TINY).eval()
    randomise_norms(model)
    features, coords = cloud()
    out = model(features, coords, 2)
    expected = dense_encoder(model, features, coords, 2)
    assert out.shape == (2, 6 * 1, 3, 4)
    assert out.abs().max() > 0.1
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


def test_channel_index_is_c_times_depth_plus_z():
    model = SparseEncoder(**{**TINY, "sparse_shape": (41, 24, 32)}).eval()
    randomise_norms(model)
    features, coords = cloud()
    depth = []
    model.conv_out.register_forward_hook(lambda module, inputs, output: depth.append(output.dense()))
    out = model(features, coords, 2)
    (dense,) = depth
    assert dense.shape == (2, 6, 2, 3, 4)
    for c in range(6):
        for z in range(2):
            assert torch.equal(out[:, c * 2 + z], dense[:, c, z])


def test_order_of_voxels_does_not_matter():
    model = SparseEncoder(**TINY).eval()
    features, coords = cloud()
    shuffle = torch.randperm(len(coords))
    assert torch.equal(model(features, coords, 2), model(features[shuffle], coords[shuffle], 2))


def test_voxels_beyond_the_grid_are_dropped():
    model = SparseEncoder(**TINY).eval()
    features, coords = cloud()
    outside = torch.tensor([[0, 3, 24, 5], [1, 3, 5, 32], [1, 25, 5, 5]])
    out = model(torch.cat([features, torch.ones(3, 5)]), torch.cat([coords, outside]), 2)
    assert torch.equal(out, model(features, coords, 2))


@pytest.mark.parametrize("training", [False, True])
def test_sample_without_points_gives_an_empty_map(training):
    model = SparseEncoder(**TINY).train(training)
    features, coords = cloud(batch_size=1)
    out = model(features, coords, 3)
    assert out.shape[0] == 3
    assert out[1:].abs().max() == 0
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("count", [0, 1])
def test_training_survives_a_batch_with_one_voxel_or_none(count):
    model = SparseEncoder(**TINY).train()
    before = {name: value.clone() for name, value in model.state_dict().items() if "running" in name}
    features, coords = cloud(batch_size=1, count=count)
    out = model(features, coords, 1)
    out.sum().backward()
    assert torch.isfinite(out).all()
    if count == 0:
        assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_computes_in_float32_under_autocast():
    model = SparseEncoder(**TINY).eval()
    features, coords = cloud()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(features, coords, 2)
    assert out.dtype == torch.float32
    assert torch.equal(out, model(features, coords, 2))


def test_every_parameter_gets_a_gradient():
    model = SparseEncoder(**TINY)
    model(*cloud(), 2).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(order=("norm", "conv", "act")), "order"),
        (dict(block_type="conv_module"), "block_type"),
        (dict(sparse_shape=(41, 8)), "sparse_shape"),
        (dict(backend="cuda"), "backend"),
        (dict(encoder_paddings=((0,),)), "encoder_paddings"),
        (dict(base_channels=8), "residual block"),
        (dict(norm_cfg=dict(type="GN")), "norm type 'GN'"),
        (dict(norm_cfg=dict(type="BN1d", epsilon=1e-3)), "epsilon.*eps"),
    ],
)
def test_bad_config(changes, message):
    with pytest.raises(ConfigError, match=message):
        SparseEncoder(**{**TINY, **changes})
