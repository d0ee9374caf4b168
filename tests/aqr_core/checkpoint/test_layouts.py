"""Foreign names and layouts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aqr_core.checkpoint import load_weights
from aqr_core.checkpoint.layouts import convert
from aqr_core.errors import CheckpointError
from aqr_core.models.backbones import ResNet
from aqr_core.models.voxel import SparseEncoder

ENCODER = dict(
    in_channels=3,
    sparse_shape=(25, 16, 16),
    output_channels=4,
    base_channels=3,
    encoder_channels=((3, 4), (4, 4), (4, 4), (4,)),
    encoder_paddings=((0, 1), (0, 1), (0, [0, 1, 1]), (0,)),
    backend="torch",
)


def encoder(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.ModuleDict({"pts_middle_encoder": SparseEncoder(**ENCODER)}).eval()


def old_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """(out, kz, ky, kx, in) -> (kz, ky, kx, in, out)."""
    return {
        key: value.permute(1, 2, 3, 4, 0).contiguous() if value.dim() == 5 else value for key, value in state.items()
    }


def save(state: dict[str, Tensor], path: Path) -> Path:
    torch.save({"state_dict": state, "meta": {}}, path)
    return path


def test_spconv_1_weights_give_the_same_map(tmp_path: Path) -> None:
    source, target = encoder(0), encoder(1)
    report = load_weights(target, save(old_layout(source.state_dict()), tmp_path / "w.pth"))
    kernels = sum(value.dim() == 5 for value in source.state_dict().values())
    assert report.converted == {"sparse kernels of spconv 1.x permuted to (out, z, y, x, in)": kernels}
    features, coords = torch.randn(40, 3), torch.randint(0, 16, (40, 4)).unique(dim=0)
    coords[:, 0] = 0
    coords = coords.unique(dim=0)
    features = features[: len(coords)]
    expected = source["pts_middle_encoder"](features, coords, 1)
    assert expected.abs().sum() > 0
    assert torch.equal(target["pts_middle_encoder"](features, coords, 1), expected)


def test_spconv_2_weights_stay_as_they_are(tmp_path: Path) -> None:
    source, target = encoder(0), encoder(1)
    report = load_weights(target, save(source.state_dict(), tmp_path / "w.pth"))
    assert not report.converted
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())


def test_a_kernel_that_fits_both_layouts_follows_the_others(tmp_path: Path) -> None:
    """The first kernel has 3 -> 3 channels and 3 x 3 x 3 taps."""
    source, target = encoder(0), encoder(1)
    first = "pts_middle_encoder.conv_input.0.weight"
    assert source.state_dict()[first].shape == (3, 3, 3, 3, 3)
    load_weights(target, save(old_layout(source.state_dict()), tmp_path / "w.pth"))
    assert torch.equal(target.state_dict()[first], source.state_dict()[first])


def test_layouts_are_not_mixed(tmp_path: Path) -> None:
    state = encoder(0).state_dict()
    key = "pts_middle_encoder.conv_out.0.weight"
    with pytest.raises(CheckpointError, match=r"conv_out.0.weight: file \(3, 1, 1, 4, 4\), model \(4, 3, 1, 1, 4\)"):
        load_weights(encoder(1), save({**state, key: old_layout(state)[key]}, tmp_path / "w.pth"))


def image_model() -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "img_backbone": ResNet(depth=18, base_channels=2, out_indices=(2, 3)),
            "img_neck": nn.ModuleDict({"lateral": nn.Linear(2, 2)}),
            "pts_bbox_head": nn.Linear(2, 2),
        }
    )


def backbone(prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value + 1 for key, value in image_model()["img_backbone"].state_dict().items()}


FOREIGN = {
    "torchvision": ("", {"fc.weight": torch.zeros(3, 2), "fc.bias": torch.zeros(3)}, "classifier"),
    "mmdetection": (
        "backbone.",
        {"neck.lateral": torch.zeros(3), "roi_head.conv": torch.zeros(3), "rpn_head.conv": torch.zeros(3)},
        "parts of the detector",
    ),
    "fcos3d": ("img_backbone.", {"img_neck.lateral.weight": torch.zeros(5, 2)}, "image neck"),
}


@pytest.mark.parametrize(("prefix", "more", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_pretrained_backbones(prefix: str, more: dict[str, Tensor], reason: str, tmp_path: Path) -> None:
    model = image_model()
    state = backbone(prefix)
    path = save({**state, **more}, tmp_path / "w.pth")
    report = load_weights(model, path, strict=False)
    assert len(report.loaded) == len(state) and not report.missing and not report.unexpected
    assert torch.equal(model["img_backbone"].conv1.weight, state[f"{prefix}conv1.weight"])
    renamed = {} if prefix == "img_backbone." else {"image backbone renamed to 'img_backbone.'": len(state)}
    assert report.converted == renamed
    assert [(name.startswith(reason), len(keys)) for name, keys in report.unused.items()] == [(True, len(more))]
    with pytest.raises(CheckpointError, match="does not fit the model, missing: img_neck"):
        load_weights(model, path)


def test_a_neck_that_fits_is_loaded_with_the_backbone(tmp_path: Path) -> None:
    neck = {f"img_neck.lateral.{leaf}": torch.zeros(shape) for leaf, shape in (("weight", (2, 2)), ("bias", (2,)))}
    report = load_weights(image_model(), save({**backbone("img_backbone."), **neck}, tmp_path / "w.pth"), strict=False)
    assert set(neck) <= set(report.loaded) and not report.unused


def test_a_renamed_key_of_a_pretrained_backbone_is_named(tmp_path: Path) -> None:
    state = backbone("")
    state["layer1.0.conv1.wieght"] = state.pop("layer1.0.conv1.weight")
    report = load_weights(image_model(), save(state, tmp_path / "w.pth"), strict=False)
    assert "did you mean 'img_backbone.layer1.0.conv1.weight'" in report.unexplained()


def test_batch_counters_of_old_files_start_at_zero() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    model[0].num_batches_tracked.fill_(7)
    tensors = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
    converted, counts = convert(tensors, model)
    assert counts == {"batch counters that the file lacks set to 0": 1}
    assert converted["0.num_batches_tracked"] == 0 and converted["0.num_batches_tracked"].dtype == torch.int64


def test_names_of_a_distributed_wrapper(tmp_path: Path) -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    wrapped = nn.ModuleDict({"module": source})
    report = load_weights(target, save(wrapped.state_dict(), tmp_path / "w.pth"))
    assert report.converted == {"prefix 'module.' of a distributed wrapper removed": 2}
    assert torch.equal(source.weight, target.weight)
    # A model that is itself made so keeps its names.
    assert not load_weights(nn.ModuleDict({"module": nn.Linear(2, 2)}), tmp_path / "w.pth").converted
