"""Under autocast half of the detector runs in half precision, and what must not stays in float32, bit for bit."""

from __future__ import annotations

import copy
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_core.models.aqr import AttentionBiasGenerator
from aqr_core.models.losses import DetectionCriterion, HungarianAssigner3D
from aqr_core.structures import Batch

GENERATOR = dict(
    type="AQRWeightGenerator",
    embed_dims=32,
    num_heads=2,
    feedforward_channels=64,
    bev_feature_shape=None,
    pers_feature_shape=None,
)
V3 = dict(aqr_config=GENERATOR, attention_bias_config=dict(type="AttentionBiasGenerator"))
V1 = dict(
    aqr_config=GENERATOR, renderer_config=dict(type="WeightRenderer"), modulator_config=dict(type="FeatureModulator")
)
half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])


@pytest.fixture
def build(tiny_model: dict[str, Any]) -> Callable[..., nn.Module]:
    """The tiny detector with AQR, in training mode; other arguments are the detector's."""

    def make(aqr: dict[str, Any], **changes: Any) -> nn.Module:
        torch.manual_seed(0)
        model = build_detector({**tiny_model, **changes, "pts_bbox_head": {**tiny_model["pts_bbox_head"], **aqr}})
        for name, parameter in model.named_parameters():
            if "predictor" in name:
                nn.init.normal_(parameter, std=0.5)
        return model.train()

    return make


class Seen:
    """Floating-point dtypes that go into and come out of every module, and what came out last."""

    def __init__(self, model: nn.Module) -> None:
        self.inputs: dict[str, set[torch.dtype]] = defaultdict(set)
        self.outputs: dict[str, set[torch.dtype]] = defaultdict(set)
        self.last: dict[str, Any] = {}
        for name, module in model.named_modules():
            module.register_forward_hook(self._note(name))

    def _note(self, name: str) -> Callable[..., None]:
        def note(_module: nn.Module, inputs: Any, output: Any) -> None:
            self.inputs[name] |= set(dtypes(inputs))
            self.outputs[name] |= set(dtypes(output))
            self.last[name] = output

        return note

    def below(self, prefix: str) -> set[torch.dtype]:
        """Of everything inside a part."""
        names = [name for name in self.inputs if name == prefix or name.startswith(prefix + ".")]
        assert names, prefix
        return set().union(*(self.inputs[name] | self.outputs[name] for name in names))


def dtypes(value: Any) -> Iterator[torch.dtype]:
    """Of the floating-point tensors in a value, however deep."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value.dtype
    elif isinstance(value, dict):
        yield from dtypes(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from dtypes(part)
    elif hasattr(value, "__dict__"):
        yield from dtypes(vars(value))


@pytest.mark.parametrize("aqr", [V3, V1], ids=["v3", "v1"])
@half
def test_islands_are_in_force_and_the_rest_is_in_half_precision(
    build: Callable[..., nn.Module], tiny_batch: Batch, dtype: torch.dtype, aqr: dict[str, Any]
) -> None:
    model = build(aqr)
    seen = Seen(model)
    with torch.autocast("cpu", dtype):
        losses = model(tiny_batch)
    losses["loss"].backward()

    only = {torch.float32}
    for part in ("pts_voxel_layer", "pts_voxel_encoder", "pts_middle_encoder", "pts_backbone"):
        assert seen.below(part) == only, part
    for part in ("bev_embedding", "task_heads.0"):
        assert seen.below(f"pts_bbox_head.{part}") == only, part
    assert seen.outputs["pts_bbox_head.rv_embedding"] == only
    assert seen.outputs["pts_bbox_head.aqr_weight_generator"] == only
    if aqr is V1:
        assert seen.outputs["pts_bbox_head.weight_renderer"] == only
    assert set(dtypes(losses)) == only
    assert {p.dtype for p in model.parameters()} == {p.grad.dtype for p in model.parameters()} == only
    for part in (
        "img_backbone.layer1.0.conv1",
        "img_neck.fpn_convs.0",
        "pts_neck.deblocks.0.0",
        "pts_bbox_head.shared_conv.conv",
        "pts_bbox_head.transformer.decoder.layers.0.attentions.1.attn.out_proj",
        "pts_bbox_head.transformer.decoder.layers.0.ffns.0.layers.1",
    ):
        assert seen.outputs[part] == {dtype}, part


@half
def test_points_voxels_codes_and_boxes_are_bit_equal_to_those_of_float32(
    build: Callable[..., nn.Module], tiny_batch: Batch, dtype: torch.dtype
) -> None:
    model = build(V3).eval()
    # At 7.77 m numbers lie 4 mm apart in float16 and 31 mm in bfloat16, at an intensity of 200 already 0.125 and 1.
    points = tiny_batch.points[0].clone()
    points[0] = torch.tensor([4.44, -7.77, 1.11, 200.3, 0.451])
    batch = replace(tiny_batch, points=[points, tiny_batch.points[1]])
    seen = Seen(model)
    codes: list[Any] = []
    coding = model.pts_bbox_head.position_codes
    model.pts_bbox_head.position_codes = lambda *inputs: codes.append(coding(*inputs)) or codes[-1]
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype, enabled=enabled):
            detections = model.predict(batch)
        assert {x.dtype for one in detections for x in (one.boxes, one.scores)} == {torch.float32}
        found.append(
            copy.deepcopy([seen.last[name] for name in ("pts_voxel_encoder", "pts_middle_encoder", "pts_backbone")])
        )
    for exact, mixed in zip(*found, strict=True):
        for a, b in zip(tensors(exact), tensors(mixed), strict=True):
            assert torch.equal(a, b)
    for a, b in zip(*codes, strict=True):
        assert torch.equal(a, b)


def tensors(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)


@half
def test_matcher_losses_and_bias_are_computed_in_float32(
    build: Callable[..., nn.Module], tiny_batch: Batch, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = defaultdict(set)

    def spy(owner: type, method: str) -> None:
        real = getattr(owner, method)

        def noted(self: Any, *inputs: Any) -> Any:
            result = real(self, *inputs)
            seen[method] |= set(dtypes([inputs, result]))
            return result

        monkeypatch.setattr(owner, method, noted)

    spy(HungarianAssigner3D, "cost")
    spy(DetectionCriterion, "_box_loss")
    spy(AttentionBiasGenerator, "forward")
    model = build(V3)
    with torch.autocast("cpu", dtype):
        model(tiny_batch)["loss"].backward()
    assert dict(seen) == dict.fromkeys(("cost", "_box_loss", "forward"), {torch.float32})
    assert model.pts_bbox_head.attention_bias_generator.bias_scale.grad.dtype == torch.float32


@half
def test_the_config_names_further_islands(
    build: Callable[..., nn.Module], tiny_batch: Batch, dtype: torch.dtype
) -> None:
    upstream = build(V3, float32=["pts_backbone", "pts_bbox_head.transformer", "pts_bbox_head.shared_conv"])
    seen = Seen(upstream)
    with torch.autocast("cpu", dtype):
        upstream(tiny_batch)["loss"].backward()
    assert seen.below("pts_bbox_head.transformer.decoder") == {torch.float32}
    assert seen.outputs["pts_bbox_head.shared_conv.conv"] == {torch.float32}
    nothing = build(V3, float32=[])
    seen = Seen(nothing)
    with torch.autocast("cpu", dtype):
        nothing(tiny_batch)["loss"].backward()
    assert seen.outputs["pts_backbone.blocks.0.0"] == {dtype}
    assert seen.below("pts_middle_encoder") == {torch.float32}


def test_islands_change_nothing_without_autocast(build: Callable[..., nn.Module], tiny_batch: Batch) -> None:
    losses = []
    for float32 in ([], ["*backbone", "pts_bbox_head.*"]):
        model = build(V3, float32=float32)
        torch.manual_seed(1)
        losses.append(model(tiny_batch)["loss"])
        assert build(V3, float32=float32).state_dict().keys() == model.state_dict().keys()
    assert torch.equal(*losses)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_run_their_own_weights(build: Callable[..., nn.Module], clone: Callable[[nn.Module], nn.Module]) -> None:
    model = build(V3)
    twin = clone(model)
    bev = torch.randn(1, 16, 8, 8)
    before = twin.pts_backbone(bev)[0]
    nn.init.zeros_(model.pts_backbone.blocks[0][0].weight)
    assert torch.equal(twin.pts_backbone(bev)[0], before)


def test_an_island_that_is_no_part_of_the_model(build: Callable[..., nn.Module]) -> None:
    with pytest.raises(ConfigError, match=r"model.float32 names 'pts_bakbone', .* Did you mean 'pts_backbone'\?"):
        build(V3, float32=["pts_bakbone"])
