"""Weights into a model: what fits, what is missing, and what has a good reason not to fit."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, save_checkpoint
from aqr_core.errors import CheckpointError

META = {"step": 3, "epoch": 1, "classes": ["car"]}


def net(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 1))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def detector(*parts: str) -> nn.Module:
    """A linear layer under every dotted name."""
    model = nn.Module()
    for part in parts:
        module = model
        *parents, leaf = part.split(".")
        for name in parents:
            if not hasattr(module, name):
                module.add_module(name, nn.Module())
            module = getattr(module, name)
        module.add_module(leaf, nn.Linear(2, 2))
    return model


CAMERA = ("img_backbone.layer1", "img_neck.lateral_convs", "pts_bbox_head.rv_embedding")
LIDAR = ("pts_middle_encoder.conv_input", "pts_backbone.blocks", "pts_neck.deblocks", "pts_bbox_head.shared_conv")
SHARED = ("pts_bbox_head.bev_embedding", "pts_bbox_head.transformer.decoder")
ROUTER = ("pts_bbox_head.transformer.encoder.layers", "pts_bbox_head.transformer.selected_cls")


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "meta": {"epoch": 3}}, lambda s: {"model": s}]
)
def test_pth_files_bare_or_wrapped(tmp_path: Path, wrap) -> None:
    source, target = net(), net()
    torch.save(wrap(source.state_dict()), tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert same(source, target)


def test_a_safetensors_file_alone(tmp_path: Path) -> None:
    source, target = net(), net()
    load_weights(target, save_checkpoint(tmp_path / "a", source, "", META) / "model.safetensors")
    assert same(source, target)


def test_another_model_is_refused_with_the_shapes(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(4), "", META)
    with pytest.raises(CheckpointError, match=r"0.weight: file \(4, 2\), model \(5, 2\)"):
        load_weights(net(5), folder)
    with pytest.raises(CheckpointError, match="shares no tensor"):
        load_weights(nn.ModuleDict({"other": nn.Linear(2, 2)}), folder, strict=False)


def test_strict_names_missing_and_unexpected_keys(tmp_path: Path) -> None:
    small, large = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"missing: 1.weight, 1.bias"):
        load_weights(large, save_checkpoint(tmp_path / "small", small, "", META))
    with pytest.raises(CheckpointError, match=r"unexpected: 1.bias, 1.weight"):
        load_weights(small, save_checkpoint(tmp_path / "large", large, "", META))


def test_not_strict_loads_the_rest_and_reports(tmp_path: Path) -> None:
    source = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    target = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2, bias=False)})
    report = load_weights(target, save_checkpoint(tmp_path / "a", source, "", META), strict=False)
    assert torch.equal(source["b"].weight, target["b"].weight) and "b.weight" in report.loaded
    assert report.unexpected == ("b.bias",) and not report.missing and not report.explained


def test_shapes_differ_also_when_not_strict(tmp_path: Path) -> None:
    target = net(5)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"another model: 0.weight: file \(4, 2\), model \(5, 2\), .* and 2 more"):
        load_weights(target, save_checkpoint(tmp_path / "a", net(4), "", META), strict=False)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_a_report_counts_by_module(tmp_path: Path) -> None:
    source = nn.ModuleDict({"a": nn.Linear(2, 2)})
    target = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ModuleDict({"c": nn.Linear(2, 2)})})
    report = load_weights(target, save_checkpoint(tmp_path / "a", source, "", META), strict=False)
    assert report.absent == {"modules, which the file does not hold": ("b.c.weight", "b.c.bias")}
    assert report.lines() == ["loaded 2 tensors", "initial 2: modules, which the file does not hold [b.c (2)]"]


def save(tmp_path: Path, source: nn.Module, **renamed: str) -> Path:
    state = {renamed.get(key, key): value for key, value in source.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_fusion_weights_serve_a_model_of_one_modality(tmp_path: Path) -> None:
    path = save(tmp_path, detector(*CAMERA, *LIDAR, *SHARED))
    report = load_weights(detector(*LIDAR, *SHARED), path)
    assert {reason: len(keys) for reason, keys in report.explained.items()} == {
        "camera branch, which this model does not have": 6
    }
    assert len(report.loaded) == 12
    report = load_weights(detector(*CAMERA, *SHARED), path)
    assert list(report.unused) == ["LiDAR branch, which this model does not have"]


def test_weights_of_one_modality_leave_the_other_branch_as_it_was(tmp_path: Path) -> None:
    path, fusion = save(tmp_path, detector(*LIDAR, *SHARED)), detector(*CAMERA, *LIDAR, *SHARED)
    report = load_weights(fusion, path, strict=False)
    assert {reason: len(keys) for reason, keys in report.absent.items()} == {
        "camera branch, which the file does not hold": 6
    }
    with pytest.raises(CheckpointError, match=r"missing: img_backbone.layer1.weight.*does not hold.*load_from"):
        load_weights(fusion, path)


def test_half_a_branch_is_a_damaged_file(tmp_path: Path) -> None:
    path = save(tmp_path, detector(*CAMERA, *LIDAR[:2], LIDAR[3], *SHARED))
    report = load_weights(detector(*CAMERA, *LIDAR, *SHARED), path, strict=False)
    assert report.missing == ("pts_neck.deblocks.weight", "pts_neck.deblocks.bias") and not report.absent


def test_what_mome_has_more_is_said_and_not_minded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save(tmp_path, detector(*SHARED, *ROUTER, "pts_bbox_head.transformer.cam_embed"))
    report = load_weights(detector(*SHARED), path)
    assert not report.missing and not report.unexpected and len(report.loaded) == 4
    router, code = report.unused
    assert router.startswith("MoME router, which this model does not have") and len(report.unused[router]) == 4
    assert code.startswith("MoME camera code")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert str(path) in caplog.text and "not used 4: MoME router" in caplog.text
    with caplog.at_level(logging.INFO):
        load_weights(detector(*SHARED, *ROUTER, "pts_bbox_head.transformer.cam_embed"), path)
    assert caplog.messages[-1] == f"{path}: loaded 10 tensors"


def test_a_renamed_key_is_named_with_what_it_may_be(tmp_path: Path) -> None:
    model = detector(*SHARED)
    path = save(tmp_path, model, **{"pts_bbox_head.bev_embedding.bias": "pts_bbox_head.bev_embeding.bias"})
    sentence = (
        r"missing: pts_bbox_head.bev_embedding.bias; unexpected: pts_bbox_head.bev_embeding.bias "
        r"\(did you mean 'pts_bbox_head.bev_embedding.bias'\?\); use its own config"
    )
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(model, path)
    assert load_weights(model, path, strict=False).missing == ("pts_bbox_head.bev_embedding.bias",)


def test_a_renamed_part_is_not_explained_away(tmp_path: Path) -> None:
    model = detector(*SHARED, "pts_bbox_head.aqr_weight_generator")
    names = {key: key.replace("aqr_weight", "aqr_weigth") for key in model.state_dict()}
    report = load_weights(model, save(tmp_path, model, **names), strict=False)
    assert report.absent == {
        "AQR weight generator, which the file does not hold: it starts neutral": tuple(
            f"pts_bbox_head.aqr_weight_generator.{leaf}" for leaf in ("weight", "bias")
        )
    }
    assert len(report.unexpected) == 2 and "aqr_weigth_generator" in report.unexplained()


def test_weights_trained_with_aqr_are_not_loaded_without_it(tmp_path: Path) -> None:
    aqr = detector(*SHARED, "pts_bbox_head.aqr_weight_generator")
    with pytest.raises(CheckpointError, match=r"unexpected: pts_bbox_head.aqr_weight_generator.*use its own config"):
        load_weights(detector(*SHARED), save(tmp_path, aqr))


def test_task_heads_of_upstreams_lidar_model_are_recognised(tmp_path: Path) -> None:
    def heads(kernel: int) -> nn.Module:
        model = detector(*SHARED)
        model.pts_bbox_head.add_module("task_heads", nn.ModuleList([nn.Conv1d(2, 3, kernel)]))
        return model

    with pytest.raises(
        CheckpointError, match=r"file \(3, 2, 3\), model \(3, 2, 1\) \(upstream's LiDAR-only.*final_kernel=3"
    ):
        load_weights(heads(1), save(tmp_path, heads(3)), strict=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    source = net()
    source[1].running_var[2] = value
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 1.running_var; take a checkpoint from before"):
        load_weights(net(), save_checkpoint(tmp_path / "a", source, "", META))
