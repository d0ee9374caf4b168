"""Names of mmdet3d and mmdet in our configs: found, built, initialised, and every way to be wrong about them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from aqr_core.checkpoint import load_weights, put_weights, save_checkpoint
from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector, init_weights
from aqr_core.models.backbones import SECOND
from aqr_core.models.foreign import encode_voxels
from aqr_core.models.voxel import HardVoxelize
from aqr_core.models.voxel.sparse_tensor import batch_coords
from aqr_core.registry import MODELS, TRANSFORMS, build

ENCODER = dict(
    in_channels=3,
    sparse_shape=(25, 16, 16),
    output_channels=4,
    base_channels=3,
    encoder_channels=((3, 4), (4, 4), (4, 4), (4,)),
    encoder_paddings=((0, 1), (0, 1), (0, (0, 1, 1)), (0,)),
)
THEIR_ENCODER = dict(type="mmdet3d.SparseEncoder", block_type="basicblock", **ENCODER)


def refusal(**config) -> str:
    with pytest.raises(ConfigError) as caught:
        build(config, MODELS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "module"),
    [
        (dict(type="mmdet3d.SECOND"), "mmdet3d.models.backbones.second"),
        (dict(type="mmdet3d.SECONDFPN"), "mmdet3d.models.necks.second_fpn"),
        (dict(type="mmdet3d.HardSimpleVFE"), "mmdet3d.models.voxel_encoders.voxel_encoder"),
        (THEIR_ENCODER, "mmdet3d.models.middle_encoders.sparse_encoder"),
        (dict(type="mmdet.ResNet", depth=18), "mmdet.models.backbones.resnet"),
        (dict(type="mmdet.FPN", in_channels=[8, 16], out_channels=8, num_outs=2), "mmdet.models.necks.fpn"),
        (dict(type="mmcv.cnn.ConvModule", in_channels=3, out_channels=4, kernel_size=1), "mmcv.cnn.bricks.conv_module"),
    ],
)
def test_a_type_with_their_scope_is_theirs(config, module: str) -> None:
    assert type(build(config, MODELS)).__module__ == module


def test_the_same_name_without_scope_is_ours() -> None:
    build(dict(type="mmdet3d.SECOND"), MODELS)  # now all of theirs is registered
    assert type(build(dict(type="SECOND"), MODELS)) is SECOND
    assert refusal(type="Conv2d").startswith("Unknown model type 'Conv2d'.")  # mmcv has put one into the root
    assert refusal(type="VoxelNet").startswith("Unknown model type 'VoxelNet'.")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="mmdet3d.SECNOD"), "Unknown model type 'mmdet3d.SECNOD'. Did you mean 'mmdet3d.SECOND'?"),
        (dict(type="mmdet3d.ResNet"), "Unknown model type 'mmdet3d.ResNet'. Did you mean 'mmdet.ResNet'?"),
        (dict(type="mmdet3d.CPFPN"), "Unknown model type 'mmdet3d.CPFPN'. Did you mean 'aqr.CPFPN'?"),
        (dict(type="mmdet3d.Xyz0"), "Unknown model type 'mmdet3d.Xyz0'. mmdet3d registers "),
        (dict(type="mmdet.ResNet"), "mmdet.ResNet needs 'depth'; add depth=... to its config."),
        (
            dict(type="mmdet3d.SECOND", layer_numz=[1]),
            "mmdet3d.SECOND does not take 'layer_numz'. Did you mean 'layer_nums'?",
        ),
        (dict(type="mmdet3d.SECOND", frozen_stages=1), "mmdet3d.SECOND does not take 'frozen_stages'."),
        (
            dict(type="mmdet3d.SECOND", layer_nums=[1]),
            "mmdet3d.SECOND refuses its arguments (AssertionError: assert len(layer_strides) == len(layer_nums)); "
            "correct layer_nums.",
        ),
        (
            dict(type="mmdet.ResNet", depth=19),
            "mmdet.ResNet refuses its arguments (KeyError: 'invalid depth 19 for resnet'); correct depth.",
        ),
        (  # its constructor takes any name and hands it on
            dict(type="mmdet.ResNetV1d", depht=18),
            "mmdet.ResNetV1d refuses its arguments (TypeError: ResNet.__init__() got an unexpected keyword argument "
            "'depht'); correct depht.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(config, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmdet3d.registry

    # `aqr_core.mmdet3d`, which other tests import, registers ours there.
    monkeypatch.delitem(mmdet3d.registry.MODELS.module_dict, "CPFPN", raising=False)
    assert refusal(**config).startswith(message) and "\n" not in refusal(**config)


def test_an_override_reaches_arguments_that_a_config_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text("model = dict(img_backbone=dict(type='mmdet.ResNet', depth=18))\n")
    assert load_config(path, ["model.img_backbone.frozen_stages=1"]).model.img_backbone.frozen_stages == 1
    with pytest.raises(ConfigError, match=r"has no 'model.img_backbone.frozen_stage'. Did you mean 'frozen_stages'\?"):
        load_config(path, ["model.img_backbone.frozen_stage=1"])
    with pytest.raises(ConfigError, match="is a number or bool in Python spelling, got 'false'"):
        load_config(path, ["model.img_backbone.norm_eval=false"])


def test_our_types_are_reachable_from_their_registries() -> None:
    from mmdet3d.registry import MODELS as THEIRS

    assert THEIRS.get("aqr.SECOND") is SECOND
    assert isinstance(THEIRS.build(dict(type="aqr.CPFPN", in_channels=[8, 16], out_channels=8, num_outs=2)), nn.Module)


def test_their_transforms_are_refused() -> None:
    with pytest.raises(ConfigError, match="'mmdet3d.PointShuffle' works on mmdet3d's result dicts"):
        build(dict(type="mmdet3d.PointShuffle"), TRANSFORMS)


NOTHING_OF_THEIRS = """
import sys
import aqr_core.data
from aqr_core.config import load_config
from aqr_core.models import build_detector
build_detector(load_config("cmt_tiny").model)
print([name for name in ("mmdet3d", "mmdet", "mmcv") if name in sys.modules])
"""


def test_a_config_without_their_names_imports_nothing_of_theirs() -> None:
    done = subprocess.run([sys.executable, "-c", NOTHING_OF_THEIRS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_their_weights_start_as_their_init_cfg_says() -> None:
    """A residual block starts as the identity, which the constructor alone does not see to."""
    model = nn.ModuleDict({"img_backbone": build(dict(type="mmdet.ResNet", depth=18, base_channels=8), MODELS)})
    block = model["img_backbone"].layer1[0]
    assert block.bn2.weight.all()
    assert init_weights(model) == frozenset()
    assert not block.bn2.weight.any()


def test_weights_that_init_cfg_reads_from_a_file(tmp_path: Path) -> None:
    config = dict(type="mmdet.ResNet", depth=18, base_channels=8)
    source = build(config, MODELS)
    torch.save(source.state_dict(), tmp_path / "resnet.pth")
    pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "resnet.pth"))
    model = nn.ModuleDict({"img_backbone": build(dict(init_cfg=pretrained, **config), MODELS)})
    assert init_weights(model) == {f"img_backbone.{name}" for name, _ in source.named_parameters()}
    assert all(
        torch.equal(value, source.state_dict()[key]) for key, value in model["img_backbone"].state_dict().items()
    )


class Encoders(nn.ModuleDict):
    """A model as far as checkpoints are concerned."""

    def __init__(self, config) -> None:
        super().__init__({"pts_middle_encoder": build(config, MODELS)})


def kernels(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_checkpoints_carry_spconvs_kernels_as_they_are(tmp_path: Path) -> None:
    """mmdet3d has spconv's layers permute what does not state the version of its layout, and no file of ours does."""
    first, second = Encoders(THEIR_ENCODER), Encoders(THEIR_ENCODER)
    save_checkpoint(tmp_path / "checkpoint", first, "", {})
    report = load_weights(second, tmp_path / "checkpoint")
    assert not report.converted
    assert all(torch.equal(value, kernels(first)[key]) for key, value in kernels(second).items())


def test_our_sparse_encoders_checkpoint_fits_theirs_and_back(tmp_path: Path) -> None:
    ours, theirs = Encoders(dict(type="SparseEncoder", **ENCODER)), Encoders(THEIR_ENCODER)
    for source, target in ((ours, theirs), (theirs, ours)):
        save_checkpoint(tmp_path / "checkpoint", source, "", {})
        load_weights(target, tmp_path / "checkpoint")
        assert all(torch.equal(value, kernels(source)[key]) for key, value in kernels(target).items())


def test_kernels_of_spconv_1_are_permuted_for_theirs(tmp_path: Path) -> None:
    """Released CMT weights are in that layout."""
    source, target = Encoders(THEIR_ENCODER), Encoders(THEIR_ENCODER)
    old = {k: v.permute(1, 2, 3, 4, 0).contiguous() if v.dim() == 5 else v for k, v in kernels(source).items()}
    torch.save(old, tmp_path / "old.pth")
    report = load_weights(target, tmp_path / "old.pth")
    assert report.converted == {"sparse kernels of spconv 1.x permuted to (out, z, y, x, in)": 13}
    assert all(torch.equal(value, kernels(source)[key]) for key, value in kernels(target).items())


def test_put_weights_takes_what_a_model_gives() -> None:
    first, second = Encoders(THEIR_ENCODER), Encoders(THEIR_ENCODER)
    put_weights(second, dict(first.state_dict()))
    assert all(torch.equal(value, kernels(first)[key]) for key, value in kernels(second).items())


PILLARS = dict(
    pts_voxel_layer=dict(voxel_size=[0.5, 0.5, 8.0], point_cloud_range=[-32.0, -32.0, -5.0, 32.0, 32.0, 3.0]),
    pts_voxel_encoder=dict(
        type="mmdet3d.PillarFeatureNet",
        in_channels=5,
        feat_channels=[16],
        voxel_size=[0.5, 0.5, 8.0],
        point_cloud_range=[-32.0, -32.0, -5.0, 32.0, 32.0, 3.0],
    ),
    pts_middle_encoder=dict(type="mmdet3d.PointPillarsScatter", in_channels=16, output_shape=[128, 128]),
    pts_backbone=dict(
        type="mmdet3d.SECOND", in_channels=16, out_channels=[64, 128], layer_nums=[1, 1], layer_strides=[4, 2]
    ),
)


def test_an_encoder_of_pillars_and_its_scatter_take_the_places_of_ours() -> None:
    """Neither knows `sparse_shape`, the default that our encoder gets; the encoder learns."""
    config = load_config("cmt_tiny").model
    config.update(
        dict.fromkeys(("img_backbone", "img_neck")), pts_bbox_head=dict(config.pts_bbox_head, type="CmtLidarHead")
    )
    for name, child in PILLARS.items():
        config[name] = child
    torch.manual_seed(0)
    model = build_detector(config)
    points = [torch.rand(300, 5) * 60 - 30 for _ in range(2)]
    bev = model.extract_bev(points)
    assert bev.shape == (2, 128, 32, 32)
    bev.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.pts_voxel_encoder.parameters())


def test_their_voxel_encoder_averages_the_voxels_of_ours() -> None:
    layer = HardVoxelize((1.0, 1.0, 1.0), (0, 0, 0, 8, 8, 4), max_num_points=4, max_voxels=100)
    torch.manual_seed(1)
    voxels = [layer(torch.rand(size, 5) * 8) for size in (200, 0, 30)]
    coords = batch_coords([v.coords for v in voxels])
    ours = encode_voxels(build(dict(type="HardSimpleVFE", num_features=5), MODELS), voxels, coords, 4)
    theirs = encode_voxels(build(dict(type="mmdet3d.HardSimpleVFE", num_features=5), MODELS), voxels, coords, 4)
    torch.testing.assert_close(theirs, ours, rtol=3e-7, atol=0)  # the order in which up to four numbers are added
