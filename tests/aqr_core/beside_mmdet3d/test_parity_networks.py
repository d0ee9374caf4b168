"""SECOND, its pyramid, ResNet and the sparse encoder beside mmdet3d's and mmdet's: equal weights, equal inputs.

Where both do the same operations in the same order, the numbers are equal to the last bit. Where the layout in memory
or the kernels differ, they are compared twice: in float64, whose rounding hides no difference of the networks, and in
float32, whose rounding is a sum over layers of up to n = 4608 products: about sqrt(n) * 6e-8 of the largest number for
each of them, which is less than 1e-4 for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aqr_core.checkpoint import put_weights
from aqr_core.registry import MODELS, build

DOUBLE, SINGLE = 1e-12, 1e-4  # of the largest number


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """spconv's CPU kernels race with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pair(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[nn.Module, nn.Module]:
    """Both with the same weights and statistics, none of which is at its neutral value."""
    torch.manual_seed(0)
    first, second = build(ours, MODELS), build(theirs, MODELS)
    for module in first.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    assert list(first.state_dict()) == list(second.state_dict())
    put_weights(second, first.state_dict())
    return first, second


def listed(maps: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    return [maps] if isinstance(maps, Tensor) else list(maps)


def assert_equal_bits(ours: Any, theirs: Any) -> None:
    for a, b in zip(listed(ours), listed(theirs), strict=True):
        assert torch.equal(a, b)


def assert_close(ours: Any, theirs: Any, share: float) -> None:
    """Up to a share of the largest number."""
    for a, b in zip(listed(ours), listed(theirs), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert (a - b).abs().max() <= share * b.abs().max()


SECOND = dict(in_channels=12, out_channels=[8, 16], layer_nums=[2, 3], layer_strides=[1, 2])
PYRAMID = dict(in_channels=[8, 16], out_channels=[10, 12], upsample_strides=[1, 2])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm_cfg", [None, dict(type="BN", eps=1e-3, momentum=0.01), dict(type="BN", momentum=0.2)])
def test_second_and_its_pyramid_are_equal_in_every_bit(training: bool, norm_cfg: dict | None) -> None:
    norm = {} if norm_cfg is None else dict(norm_cfg=norm_cfg)
    ours, theirs = pair(dict(type="SECOND", **SECOND, **norm), dict(type="mmdet3d.SECOND", **SECOND, **norm))
    neck, their_neck = pair(
        dict(type="SECONDFPN", **PYRAMID, **norm), dict(type="mmdet3d.SECONDFPN", **PYRAMID, **norm)
    )
    bev = torch.randn(2, 12, 16, 24)
    for module in (ours, theirs, neck, their_neck):
        module.train(training)
    stages, their_stages = ours(bev.clone()), theirs(bev.clone())
    assert_equal_bits(stages, their_stages)
    assert_equal_bits(neck(stages), their_neck(their_stages))
    for a, b in ((ours, theirs), (neck, their_neck)):  # statistics too
        assert_equal_bits(list(a.buffers()), list(b.buffers()))


def test_their_gradients_are_equal_in_every_bit() -> None:
    ours, theirs = pair(dict(type="SECOND", **SECOND), dict(type="mmdet3d.SECOND", **SECOND))
    neck, their_neck = pair(dict(type="SECONDFPN", **PYRAMID), dict(type="mmdet3d.SECONDFPN", **PYRAMID))
    bev = torch.randn(2, 12, 16, 24)
    neck(ours(bev)).square().sum().backward()
    their_neck(theirs(bev))[0].square().sum().backward()
    for a, b in ((ours, theirs), (neck, their_neck)):
        assert_equal_bits([p.grad for p in a.parameters()], [p.grad for p in b.parameters()])


@pytest.mark.parametrize("no_stride", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_options_of_second_and_its_pyramid(no_stride: bool, bias: bool) -> None:
    conv, deconv = dict(type="Conv2d", bias=bias), dict(type="deconv", bias=bias)
    ours, theirs = (dict(type=name, **SECOND, conv_cfg=conv) for name in ("SECOND", "mmdet3d.SECOND"))
    ours, theirs = pair(ours, theirs)
    options = dict(upsample_cfg=deconv, use_conv_for_no_stride=no_stride)
    # The 1x1 convolution in the place of a transposed one asks `conv_cfg` for its bias there, `upsample_cfg` here.
    theirs_only = dict(conv_cfg=conv) if no_stride else {}
    neck, their_neck = pair(
        dict(type="SECONDFPN", **PYRAMID, **options),
        dict(type="mmdet3d.SECONDFPN", **PYRAMID, **options, **theirs_only),
    )
    bev = torch.randn(1, 12, 8, 8)
    assert_equal_bits(ours.eval()(bev), theirs.eval()(bev))
    stages = ours(bev)
    assert_equal_bits(neck.eval()(stages), their_neck.eval()(stages))


RESNETS = [
    dict(depth=18, base_channels=8, style="pytorch"),
    dict(depth=18, base_channels=8, style="caffe"),
    dict(depth=50, base_channels=8, style="pytorch"),
    dict(depth=50, base_channels=8, style="caffe", num_stages=3, out_indices=(1, 2)),
]


def resnets(**options: Any) -> tuple[nn.Module, nn.Module]:
    options = dict(out_indices=(0, 1, 2, 3), norm_cfg=dict(type="BN", requires_grad=True)) | options
    theirs = dict(type="mmdet.ResNet", **options)
    if "num_stages" in options:  # they are not cut to the stages there
        theirs |= dict(strides=(1, 2, 2), dilations=(1, 1, 1))
    return pair(dict(type="ResNet", **options), theirs)


@pytest.mark.parametrize("options", RESNETS, ids=lambda options: f"{options['depth']}-{options['style']}")
@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
@pytest.mark.parametrize("mode", ["eval", "norm_eval", "train"])
def test_resnet(options: dict[str, Any], dtype: torch.dtype, share: float, mode: str) -> None:
    """Ours works on channels in the last dimension of memory, which changes the order of sums and nothing else."""
    ours, theirs = resnets(**options, norm_eval=mode == "norm_eval")
    images = torch.randn(2, 3, 64, 96, dtype=dtype)
    for module in (ours.to(dtype), theirs.to(dtype)):
        module.train(mode != "eval")
    if mode == "train":  # the last norms divide by the deviation of a dozen numbers, and their rounding with them
        share *= 10
    assert_close(ours(images), theirs(images), share)
    assert_close(list(ours.buffers()), list(theirs.buffers()), share)


@pytest.mark.parametrize("options", RESNETS, ids=lambda options: f"{options['depth']}-{options['style']}")
def test_gradients_of_resnet(options: dict[str, Any]) -> None:
    ours, theirs = (module.double() for module in resnets(**options, norm_eval=False))
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    for module in (ours, theirs):
        module.train()
        sum(level.square().mean() for level in module(images)).backward()
    # Behind 53 batch norms in training mode the gradient of a first weight is a difference of large numbers.
    assert_close([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()], 1e-9)


@pytest.mark.parametrize("frozen_stages", [-1, 0, 1, 3])
@pytest.mark.parametrize("norm_eval", [False, True])
def test_what_frozen_stages_and_norm_eval_hold_in_resnet(frozen_stages: int, norm_eval: bool) -> None:
    ours, theirs = resnets(depth=18, base_channels=8, frozen_stages=frozen_stages, norm_eval=norm_eval)
    state: list[list[Any]] = []
    for module in (ours, theirs):
        module.train()
        state.append([(name, parameter.requires_grad) for name, parameter in module.named_parameters()])
        norms = {name: part.training for name, part in module.named_modules() if isinstance(part, nn.BatchNorm2d)}
        state[-1] += sorted(norms.items())
    assert state[0] == state[1]


def test_weights_of_norms_that_norm_cfg_fixes() -> None:
    norm = dict(type="BN", requires_grad=False)
    fixed = [
        {name for name, p in module.named_parameters() if not p.requires_grad}
        for module in resnets(depth=18, norm_cfg=norm)
    ]
    assert fixed[0] == fixed[1] and "layer4.1.bn2.weight" in fixed[0]


@pytest.mark.parametrize("norm_eval", [True, False])
def test_recomputation_in_their_resnet_and_in_ours(norm_eval: bool) -> None:
    """Both give the gradients of a plain pass. Their batch norms see a batch twice, where statistics are moved."""
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    for which in (0, 1):
        plain = resnets(depth=18, base_channels=8, norm_eval=norm_eval, with_cp=False)[which].double()
        again = resnets(depth=18, base_channels=8, norm_eval=norm_eval, with_cp=True)[which].double()
        again.load_state_dict(plain.state_dict())
        for module in (plain, again):
            module.train()
            sum(level.square().mean() for level in module(images)).backward()
        assert_close([p.grad for p in again.parameters()], [p.grad for p in plain.parameters()], DOUBLE)
        moved_twice = [name for name, value in plain.named_buffers() if not torch.equal(value, again.get_buffer(name))]
        assert bool(moved_twice) == (which == 1 and not norm_eval)


ENCODER = dict(
    in_channels=5,
    sparse_shape=(25, 32, 40),
    output_channels=16,
    base_channels=8,
    encoder_channels=((8, 8, 12), (12, 12, 16), (16, 16, 16), (16, 16)),
    encoder_paddings=((0, 0, 1), (0, 0, 1), (0, 0, (0, 1, 1)), (0, 0)),
    order=("conv", "norm", "act"),
)


def voxels(count: int, dtype: torch.dtype, batch: int = 2) -> tuple[Tensor, Tensor]:
    """(V, 5) features on distinct cells of every sample, in no order."""
    generator = torch.Generator().manual_seed(5)
    z, y, x = ENCODER["sparse_shape"]
    cells = torch.randperm(batch * z * y * x, generator=generator)[:count]
    coords = torch.stack(torch.unravel_index(cells, (batch, z, y, x)), dim=1)
    return torch.randn(count, 5, generator=generator, dtype=dtype), coords


@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
@pytest.mark.parametrize("backend", ["torch", "spconv"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("count", [1200, 3])
def test_the_sparse_encoder(dtype: torch.dtype, share: float, backend: str, training: bool, count: int) -> None:
    ours, theirs = pair(
        dict(type="SparseEncoder", backend=backend, **ENCODER),
        dict(type="mmdet3d.SparseEncoder", block_type="basicblock", **ENCODER),
    )
    features, coords = voxels(count, dtype)
    with torch.no_grad():  # spconv keeps no graph on a CPU
        bev, their_bev = (module.to(dtype).train(training)(features, coords, 2) for module in (ours, theirs))
    assert bev.abs().max() > 0
    assert_close(bev, their_bev, share)
    assert_close(list(ours.buffers()), list(theirs.buffers()), share)


def test_a_sample_without_voxels_is_an_empty_map_in_both() -> None:
    ours, theirs = pair(
        dict(type="SparseEncoder", **ENCODER), dict(type="mmdet3d.SparseEncoder", block_type="basicblock", **ENCODER)
    )
    features, coords = voxels(200, torch.float64, batch=1)
    with torch.no_grad():
        bev, their_bev = (module.double().eval()(features, coords, 2) for module in (ours, theirs))
    assert_close(bev, their_bev, DOUBLE)
    assert not bev[1].any() and bev[0].any()


def test_a_batch_without_voxels_is_an_empty_map_in_ours_alone() -> None:
    ours, theirs = pair(
        dict(type="SparseEncoder", **ENCODER), dict(type="mmdet3d.SparseEncoder", block_type="basicblock", **ENCODER)
    )
    nothing = torch.zeros(0, 5), torch.zeros(0, 4, dtype=torch.int64)
    assert not ours.eval()(*nothing, 2).any()
    with torch.no_grad(), pytest.raises(ValueError, match="tensor must not empty"):
        theirs.eval()(*nothing, 2)
