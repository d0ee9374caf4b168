"""Keys of `paramwise_cfg` become globs under which every parameter has the settings that mmcv gave it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.ledger import Ledger
from aqr_train.config_conversion.optimizer import convert_optimizer

PARAMETERS = [
    "img_backbone.layer1.0.conv1.weight",
    "img_backbone.layer1.0.bn1.bias",
    "img_neck.lateral_convs.0.conv.weight",
    "pts_backbone.blocks.0.0.weight",
    "pts_bbox_head.transformer.decoder.layers.0.norms.0.weight",
    "pts_bbox_head.attention_bias_generator.bias_scale",
    "pts_bbox_head.task_heads.0.center.0.weight",
]
KEYS = ["backbone", "img_", "pts_", "conv1", "norms", "bias", "bias_scale", "attention_bias_generator", "head", "heads"]
KEYS += ["transformer", "layer", "layers", "weight", "absent", "img_backbone", "pts_backbone", "img_neck", "0"]


def as_mmcv(name: str, keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The settings of the longest key within the name, of equally long ones the first in the alphabet."""
    for key in sorted(sorted(keys), key=len, reverse=True):
        if key in name:
            return keys[key]
    return {}


def as_ours(name: str, groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    matching = [pattern for pattern in reversed(groups) if fnmatchcase(name, pattern)]
    return groups[max(matching, key=len)] if matching else {}


@given(st.lists(st.sampled_from(KEYS), unique=True))
def test_every_parameter_keeps_its_settings(names: list[str]) -> None:
    keys = {name: {"lr_mult": 0.1 + place} for place, name in enumerate(names)}
    fields = Fields(Ledger(), {"lr": 1e-3, "paramwise_cfg": {"custom_keys": keys}})
    groups = convert_optimizer(fields, PARAMETERS)["param_groups"]
    assert all(as_ours(name, groups) == as_mmcv(name, keys) for name in PARAMETERS)
    assert all(any(fnmatchcase(name, pattern) for name in PARAMETERS) for pattern in groups)


def test_a_key_that_names_a_module_becomes_its_path() -> None:
    keys = {"img_backbone": {"lr_mult": 0.0, "decay_mult": 5}, "bias_scale": {"lr_mult": 0.5}}
    fields = Fields(Ledger(), {"lr": 1e-3, "paramwise_cfg": {"custom_keys": keys}})
    assert convert_optimizer(fields, PARAMETERS)["param_groups"] == {
        "img_backbone.*": {"frozen": True},
        "pts_bbox_head.attention_bias_generator.bias_scale": {"lr_mult": 0.5},
    }
