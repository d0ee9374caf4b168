"""Children that are built like mmdet3d's: real modules of mmengine and torch in the places of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models import init_weights
from aqr_core.models.foreign import check_backward, encode_voxels, finest
from aqr_core.models.voxel import HardSimpleVFE, HardVoxelize
from aqr_core.models.voxel.sparse_tensor import batch_coords

LAYER = dict(voxel_size=(1.0, 1.0, 1.0), point_cloud_range=(0, 0, 0, 4, 4, 2), max_num_points=3, max_voxels=20)


class PaddedMean(nn.Module):
    """The interface of mmdet3d's hard voxel encoders."""

    def forward(self, features: Tensor, num_points: Tensor, coors: Tensor) -> Tensor:
        assert len(features) == len(num_points) == len(coors)
        return features.sum(dim=1) / num_points[:, None]


class Convolution(BaseModule):
    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(2, 3, 1)
        self.inner = nn.Sequential(nn.Linear(2, 2))


def clouds(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    scale = torch.tensor([4.0, 4.0, 2.0, 255.0, 0.5])
    return [torch.rand(size, 5, generator=generator) * scale for size in sizes]


def test_the_finest_map_is_the_map_itself_or_the_first_of_several() -> None:
    maps = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)]
    assert finest(maps[0]) is finest(maps) is finest(tuple(maps)) is finest(maps[:1]) is maps[0]


@pytest.mark.parametrize("sizes", [(60,), (60, 7), (40, 0, 1), (0,)])
def test_an_encoder_of_padded_voxels_gives_the_means_of_ours(sizes: tuple[int, ...]) -> None:
    layer = HardVoxelize(**LAYER)
    voxels = [layer(points) for points in clouds(*sizes)]
    coords = batch_coords([v.coords for v in voxels])
    ours = encode_voxels(HardSimpleVFE(5), voxels, coords, layer.max_num_points)
    theirs = encode_voxels(PaddedMean(), voxels, coords, layer.max_num_points)
    torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-6)  # the order of a sum of three


def test_padding_keeps_every_point_in_its_order() -> None:
    voxels = HardVoxelize(**LAYER)(clouds(60)[0])
    padded, counts = voxels.padded(3)
    assert padded.shape == (len(voxels), 3, 5) and counts.max() == 3 and counts.min() >= 1
    filled = torch.arange(3) < counts[:, None]
    assert torch.equal(padded[filled], voxels.points) and not padded[~filled].any()


def test_modules_of_mmengine_are_initialised_once_as_their_init_cfg_says() -> None:
    model = nn.ModuleDict(
        {"theirs": Convolution(dict(type="Constant", layer="Conv2d", val=2.0)), "ours": nn.Linear(2, 2)}
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert init_weights(model) == frozenset()
    assert (model["theirs"].conv.weight == 2.0).all()
    for name in ("ours.weight", "theirs.inner.0.weight"):  # nothing says anything about them
        assert torch.equal(model.state_dict()[name], before[name])
    with torch.no_grad():
        model["theirs"].conv.weight.zero_()
    init_weights(model)
    assert not model["theirs"].conv.weight.any()


def test_parameters_that_a_file_has_given_are_told(tmp_path: Path) -> None:
    source = Convolution()
    torch.save(source.state_dict(), tmp_path / "conv.pth")
    model = nn.ModuleDict({"theirs": Convolution(dict(type="Pretrained", checkpoint=str(tmp_path / "conv.pth")))})
    assert init_weights(model) == {f"theirs.{name}" for name, _ in source.named_parameters()}
    assert torch.equal(model["theirs"].conv.weight, source.conv.weight)


def test_a_file_of_init_cfg_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    model = nn.ModuleDict({"theirs": Convolution(dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth")))})
    with pytest.raises(
        ConfigError, match=r"^The init_cfg of model.theirs failed \(FileNotFoundError: .*none.pth"
    ) as caught:
        init_weights(model)
    assert "name the weights by load_from" in str(caught.value)


def test_spconvs_layers_are_refused_only_where_a_cpu_would_have_to_run_them_backwards() -> None:
    conv = pytest.importorskip("spconv.pytorch").SubMConv3d(2, 3, 3)
    encoder, features = nn.Sequential(conv), torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="use our type='SparseEncoder'"):
        check_backward(encoder, features)
    with torch.no_grad():
        check_backward(encoder, features)
    check_backward(encoder.requires_grad_(False), features)
    with pytest.raises(ConfigError, match="no backward pass on a CPU"):  # a voxel encoder before it learns
        check_backward(encoder, features.requires_grad_())
    check_backward(encoder.eval(), features)
    check_backward(nn.Sequential(nn.Linear(2, 2)), features)
