"""Frozen stages keep weights, statistics and no activations; recomputation changes no bit. For every such class."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.backbones import SECOND, ResNet, VoVNet
from aqr_core.models.freezing import freeze_modules
from aqr_core.models.necks import CPFPN, SECONDFPN
from aqr_core.models.staged import StagedModule
from aqr_core.models.voxel import SparseEncoder


def images(seed: int) -> Any:
    return (normal(seed, 2, 3, 64, 64),)


def two_maps(seed: int) -> Any:
    return ((normal(seed, 2, 4, 8, 8), normal(seed + 1, 2, 6, 4, 4)),)


def voxels(seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(2 * 17 * 16 * 16, generator=generator)[:600]
    coords = torch.stack(torch.unravel_index(cells, (2, 17, 16, 16)), dim=1)
    return torch.randn(600, 5, generator=generator), coords, 2


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def resnet(**options: Any) -> StagedModule:
    return ResNet(18, base_channels=4, zero_init_residual=False, **options)


def vovnet(**options: Any) -> StagedModule:
    return VoVNet("V-19-slim-eSE", **options)


def second(**options: Any) -> StagedModule:
    return SECOND(4, [6, 8], [1, 1], [1, 2], **options)


def second_fpn(**options: Any) -> StagedModule:
    return SECONDFPN([4, 6], [3, 5], [1, 2], use_conv_for_no_stride=True, **options)


def cp_fpn(**options: Any) -> StagedModule:
    return CPFPN([4, 6], 5, 2, **options)


def sparse_encoder(**options: Any) -> StagedModule:
    widths, paddings = ((4, 6), (6, 8), (8,)), ((0, 1), (0, (0, 1, 1)), (0,))
    return SparseEncoder(5, (17, 16, 16), 8, 4, widths, paddings, **options)


Builder = Callable[..., StagedModule]
BUILDERS: dict[Builder, tuple[Callable[[int], Any], tuple[str, ...], tuple[str, ...]]] = {
    # what it reads, its stem and its stages as prefixes of parameter names
    resnet: (images, ("conv1.", "bn1."), ("layer1.", "layer2.", "layer3.", "layer4.")),
    vovnet: (images, ("stem.",), ("stage2.", "stage3.", "stage4.", "stage5.")),
    second: (lambda seed: (normal(seed, 2, 4, 8, 8),), (), ("blocks.0.", "blocks.1.")),
    second_fpn: (two_maps, (), ("deblocks.0.", "deblocks.1.")),
    cp_fpn: (two_maps, (), ("lateral_convs.0.", "lateral_convs.1.", "fpn_convs.0.")),
    sparse_encoder: (
        voxels,
        ("conv_input.",),
        (
            "encoder_layers.encoder_layer1.",
            "encoder_layers.encoder_layer2.",
            "encoder_layers.encoder_layer3.",
            "conv_out.",
        ),
    ),
}
each = pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)


def counted(kept: list[Tensor]) -> AbstractContextManager[None]:
    """Puts every tensor that autograd keeps into a list."""

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)


def loss_of(out: Tensor | Sequence[Tensor]) -> Tensor:
    return sum((part.square().mean() for part in ([out] if isinstance(out, Tensor) else out)), torch.zeros(()))


def train(module: nn.Module, steps: int, inputs: Callable[[int], Any], **autocast: Any) -> list[Tensor]:
    """Losses of a few steps of SGD."""
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], 0.01)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", enabled=bool(autocast), **autocast):
            losses.append(loss_of(module(*inputs(step))))
        losses[-1].backward()
        optimizer.step()
    return losses


def stages_and_more(build: Builder) -> list[int]:
    return [0, 1, len(BUILDERS[build][2]) - 1]


@pytest.mark.parametrize(
    ("build", "frozen"), [(build, count) for build in BUILDERS for count in stages_and_more(build)]
)
def test_frozen_stages_stay_bit_equal_and_the_rest_trains(build: Builder, frozen: int) -> None:
    inputs, stem, stages = BUILDERS[build]
    module = build(frozen_stages=frozen, norm_eval=False).train()
    held = (*stem, *stages[:frozen])
    before = copy.deepcopy(module.state_dict())
    train(module, 2, inputs)
    for name, value in module.state_dict().items():
        if name.startswith(held):
            assert torch.equal(value, before[name]), name
        else:
            assert not torch.equal(value, before[name]), name
    for name, parameter in module.named_parameters():
        assert parameter.requires_grad == (not name.startswith(held)), name
        assert (parameter.grad is None) == name.startswith(held), name


@each
def test_frozen_throughout_keeps_nothing_and_asks_for_no_graph(build: Builder) -> None:
    inputs, _, stages = BUILDERS[build]
    module = build(frozen_stages=len(stages), with_cp=True).train()
    graph = []
    for part in module.modules():
        if part is not module:
            part.register_forward_pre_hook(lambda *_: graph.append(torch.is_grad_enabled()))
    kept: list[Tensor] = []
    with counted(kept):
        loss = loss_of(module(*inputs(0)))
    assert not loss.requires_grad
    assert not kept
    assert graph and not any(graph)


@each
def test_a_frozen_module_keeps_nothing_whoever_froze_it(build: Builder) -> None:
    inputs, *_ = BUILDERS[build]
    model = nn.ModuleDict({"part": build(with_cp=True)})
    freeze_modules(model, ["part"])
    model.train()
    before = copy.deepcopy(model.state_dict())
    kept: list[Tensor] = []
    with counted(kept):
        model["part"](*inputs(0))
    assert not kept
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("norm_eval", [False, True])
@each
def test_norm_eval_fixes_statistics_alone(build: Builder, norm_eval: bool) -> None:
    inputs, *_ = BUILDERS[build]
    module = build(norm_eval=norm_eval).train()
    before = copy.deepcopy(module.state_dict())
    train(module, 1, inputs)
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) == norm_eval for name in before if "running" in name)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize("autocast", [{}, {"dtype": torch.bfloat16}], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("frozen", [-1, 1])
@each
def test_recomputing_changes_no_bit_of_losses_gradients_and_statistics(
    build: Builder, frozen: int, autocast: dict[str, Any]
) -> None:
    inputs, *_ = BUILDERS[build]
    torch.manual_seed(0)
    plain = build(frozen_stages=frozen, norm_eval=False).train()
    recomputing = copy.deepcopy(plain)
    recomputing.with_cp = True
    losses = train(plain, 2, inputs, **autocast), train(recomputing, 2, inputs, **autocast)
    assert torch.equal(torch.stack(losses[0]), torch.stack(losses[1]))
    for (name, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(plain.state_dict().items(), recomputing.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("build", [build for build in BUILDERS if build is not cp_fpn], ids=lambda b: b.__name__)
def test_recomputing_keeps_less(build: Builder) -> None:
    sizes = []
    for with_cp in (False, True):
        module, kept = build(with_cp=with_cp).train(), []
        with counted(kept):
            loss_of(module(*BUILDERS[build][0](0)))
        own = {p.data_ptr() for p in module.parameters()}
        sizes.append(sum({x.data_ptr(): x.nbytes for x in kept if x.data_ptr() not in own}.values()))
    assert sizes[1] < 0.8 * sizes[0]


def test_gradients_pass_through_a_frozen_neck_that_recomputes() -> None:
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        neck = second_fpn(frozen_stages=2, with_cp=with_cp).train()
        maps = [x.requires_grad_() for x in two_maps(0)[0]]
        loss_of(neck(maps)).backward()
        gradients.append([x.grad for x in maps])
    assert all(torch.equal(a, b) and a.any() for a, b in zip(*gradients, strict=True))


def test_a_backward_pass_may_be_repeated() -> None:
    module = second(with_cp=True).train()
    loss = loss_of(module(normal(0, 2, 4, 8, 8)))
    statistics = module.blocks[0][1].running_mean.clone()
    first = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
    second_time = torch.autograd.grad(loss, list(module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second_time, strict=True))
    assert torch.equal(module.blocks[0][1].running_mean, statistics)


@pytest.mark.parametrize("frozen", [-2, True, 1.0, None, "all"])
@each
def test_impossible_numbers_of_stages_are_named(build: Builder, frozen: Any) -> None:
    most = len(BUILDERS[build][2])
    for value in (frozen, most + 1):
        message = rf"frozen_stages is {value!r}; give a whole number from -1 \(nothing\) to {most} \(everything\)"
        with pytest.raises(ConfigError, match=message):
            build(frozen_stages=value)
