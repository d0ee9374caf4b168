"""The AQR configs: what each changes, the recipes, the shapes they promise, and the ablations of docs/configs.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from aqr_core.config import load_config
from aqr_core.models import build_detector
from aqr_core.models.aqr.presets import PRESETS
from aqr_train.param_groups import build_grouping

SCALE = "attention_bias_generator.bias_scale"
SIZES = ("voxel0100_r50_800x320_cbgs", "voxel0075_vov_1600x640_cbgs")
FULL_SIZE = [f"cmt_aqr{version}_{size}" for version in ("", "_v1", "_v2") for size in SIZES]
HEAD = "model.pts_bbox_head."
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configs.md"
_ROWS = re.findall(r"^\| (.+?) \| (v[123]) \| `(.+)` \|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
# As a shell passes them on: an override whose brackets or quotes it would take for its own is more than one word here.
ABLATIONS = [(title, version, *shlex.shlex(row, posix=True, punctuation_chars=True)) for title, version, row in _ROWS]


def differences(a: Any, b: Any, path: str = "") -> set[str]:
    """Dotted paths at which two configs differ; a key that only one has counts once."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        keys = {key for key in {*a, *b}}
        return set().union(*(differences(a.get(key), b.get(key), f"{path}.{key}".strip(".")) for key in keys))
    return set() if a == b else {path}


def changed(name: str, parent: str) -> set[str]:
    return differences(load_config(parent).to_dict(), load_config(name).to_dict())


def rates(name: str) -> dict[str, float | None]:
    """Group -> factor of the rate, None where frozen."""
    config = load_config(name)
    lr = config.optimizer.lr
    groups = build_grouping(build_detector(config.model), lr, 0.01, config.optimizer.param_groups).groups
    return {g.pattern.removeprefix("pts_bbox_head."): None if g.frozen else round(g.lr / lr, 6) for g in groups}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("version", "blocks"),
    [
        ("", {"aqr_config", "attention_bias_config"}),
        ("_v1", {"aqr_config", "renderer_config", "modulator_config"}),
        ("_v2", {"aqr_config", "renderer_config", "modulator_config"}),
    ],
)
def test_a_variant_differs_from_its_baseline_by_aqr_and_its_recipe(version: str, blocks: set[str], size: str) -> None:
    found = changed(f"cmt_aqr{version}_{size}", f"cmt_{size}")
    recipe = ("optimizer.lr", "optimizer.param_groups", "schedule.target_ratio")
    assert {path for path in found if not path.startswith(recipe)} == {HEAD + block for block in blocks}


@pytest.mark.parametrize("size", [*SIZES, "tiny"])
def test_v2_is_v1_with_a_residual(size: str) -> None:
    assert changed(f"cmt_aqr_v2_{size}", f"cmt_aqr_v1_{size}") == {f"{HEAD}modulator_config.residual_connection"}


@pytest.mark.parametrize("version", ["", "_v1", "_v2"])
def test_sizes_differ_from_each_other_as_their_baselines_do(version: str) -> None:
    small, large = (f"cmt_aqr{version}_{size}" for size in SIZES)
    more = changed(large, small) - changed(*(f"cmt_{size}" for size in reversed(SIZES)))
    assert more == {f"{HEAD}aqr_config.bev_feature_shape", f"{HEAD}aqr_config.pers_feature_shape"}


def test_tiny_variants_share_weights_groups_and_budget() -> None:
    for name in ("cmt_aqr_v1_tiny", "cmt_aqr_v2_tiny"):
        found = changed(name, "cmt_aqr_tiny")
        blocks = {HEAD + block for block in ("renderer_config", "modulator_config", "attention_bias_config")}
        assert found == blocks | {"optimizer.param_groups." + HEAD.removeprefix("model.") + SCALE}


FROZEN = {"img_backbone.*": None, "pts_middle_encoder.*": None, "pts_backbone.*": None}
V3_RATES = {
    **FROZEN,
    "img_neck.*": 0.05,
    "pts_neck.*": 0.05,
    "transformer.*": 0.5,
    "bev_embedding.*": 0.5,
    "rv_embedding.*": 0.5,
    "shared_conv.*": 0.5,
    "reference_points.*": 0.3,
    "task_heads.*": 0.8,
    "aqr_weight_generator.*": 1.0,
    SCALE: 0.5,
}
V1_RATES = {
    "img_backbone.*": 0.1,
    "img_neck.*": 0.1,
    "pts_middle_encoder.*": 0.1,
    "pts_backbone.*": 0.1,
    "pts_neck.*": 0.1,
    "transformer.*": 0.8,
    "task_heads.*": 0.8,
    "aqr_weight_generator.*": 0.5,
    "(all others)": 1.0,
}


@pytest.mark.parametrize(
    ("version", "lr", "expected"), [("", 1.4e-4, V3_RATES), ("_v1", 2e-4, V1_RATES), ("_v2", 2e-4, V1_RATES)]
)
@pytest.mark.parametrize("size", SIZES)
def test_recipes(version: str, lr: float, expected: dict[str, float | None], size: str) -> None:
    name = f"cmt_aqr{version}_{size}"
    config = load_config(name)
    assert config.optimizer.lr == lr and config.optimizer.weight_decay == 0.01 and 20 <= config.train.epochs <= 24
    assert not any("decay_mult" in rule for rule in config.optimizer.param_groups.values())
    assert rates(name) == expected


@pytest.mark.parametrize("name", [f"cmt_aqr_{size}" for size in SIZES])
def test_v3_fixes_the_statistics_of_the_necks(name: str) -> None:
    config = load_config(name)
    model = build_detector(config.model)
    build_grouping(model, 1.0, 0.01, config.optimizer.param_groups).train_mode(model)
    training = {n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d) and m.training}
    assert training == {"pts_bbox_head.shared_conv.bn"}


@pytest.mark.parametrize("name", FULL_SIZE)
def test_promised_shapes_are_those_of_the_backbones(name: str) -> None:
    config = load_config(name)
    promised = config.model.pts_bbox_head.aqr_config
    image = next(step for step in config.data.val.pipeline if step.type == "ResizeCropFlipImage")
    with torch.device("meta"):
        model = build_detector(config.model).eval()
        images = model.extract_images(torch.empty(1, 6, 3, *image.data_aug_conf.final_dim))
        _, rows, cols = model.pts_middle_encoder.sparse_shape
        bev = model.pts_neck(model.pts_backbone(torch.empty(1, 256, rows // 8, cols // 8)))
    assert images is not None
    assert promised.pers_feature_shape == (*images.shape[1:2], *images.shape[3:])
    assert promised.bev_feature_shape == tuple(bev.shape[2:])


def test_the_document_lists_every_ablation() -> None:
    named = {override.split("=")[0].removeprefix(HEAD) for _, _, override in ABLATIONS}
    assert named >= {
        "attention_bias_config.bias_scale",
        "attention_bias_config.learnable_scale",
        "attention_bias_config.window_size",
        "attention_bias_config.use_gaussian_window",
        "attention_bias_config.use_local_bias",
        "attention_bias_config.views",
        "attention_bias_config.attention_backend",
        "aqr_config.window_sizes",
        "aqr_config.views",
        "aqr_preset",
        "aqr_loss",
    }
    assert len(set(ABLATIONS)) == len(ABLATIONS) > 20


@pytest.mark.parametrize(("title", "version", "override"), ABLATIONS, ids=lambda text: text.removeprefix(HEAD))
def test_ablations_change_one_field_and_build(title: str, version: str, override: str) -> None:
    name = f"cmt_aqr{'' if version == 'v3' else '_' + version}_{SIZES[0]}"
    parent, config = load_config(name), load_config(name, [override])
    assert differences(parent.to_dict(), config.to_dict()) == {override.split("=")[0]}, title
    build_grouping(build_detector(config.model), 1.0, 0.01, config.optimizer.param_groups)


@pytest.mark.parametrize("preset", ["historical", "moderate", "aggressive"])
def test_the_document_says_what_presets_mean(preset: str) -> None:
    row = next(
        line
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("|") and f"`{preset}` |" in line
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    blocks = PRESETS[preset]
    assert float(cells[1]) == blocks["renderer_config"]["max_weight_clamp"]
    assert float(cells[2]) == blocks["modulator_config"]["residual_weight"]
    assert cells[3] == f"`{blocks['renderer_config'].get('composition', 'mean')}`"
    assert f"`{blocks.get('aqr_config', {}).get('activation', 'sigmoid2')}`" in cells[4]
