"""Named settings of v1 and v2, in blocks and in heads."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.presets import PRESETS
from aqr_core.models.aqr.variant import build_aqr

BLOCKS = dict(
    aqr_config=dict(type="AQRWeightGenerator", embed_dims=32),
    renderer_config=dict(type="WeightRenderer"),
    modulator_config=dict(type="FeatureModulator", embed_dims=32, residual_connection=True),
    attention_bias_config=None,
)


@pytest.mark.parametrize(
    ("preset", "composition", "clamp", "residual", "activation", "start"),
    [
        (None, "mean", 2.0, 0.65, "sigmoid2", 0.0),
        ("historical", "sum", 1.5, 0.7, "sigmoid", 1.5),
        ("moderate", "mean", 2.0, 0.65, "sigmoid2", 0.0),
        ("aggressive", "mean", 2.5, 0.5, "sigmoid2", 0.0),
    ],
)
def test_what_each_preset_means(preset, composition, clamp, residual, activation, start):
    parts = build_aqr(**BLOCKS, preset=preset)
    assert parts is not None
    assert parts.weight_renderer.composition == composition and float(parts.weight_renderer.clamp_max) == clamp
    assert parts.feature_modulator.share == pytest.approx(1 - residual)
    assert parts.weight_generator.activation == activation
    torch.testing.assert_close(parts.weight_generator.predictor.bias, torch.tensor([start, start]))


def test_a_preset_leaves_other_fields_and_the_config_alone():
    blocks = {**BLOCKS, "renderer_config": dict(type="WeightRenderer", min_weight_threshold=0.2)}
    before = {key: block and dict(block) for key, block in blocks.items()}
    parts = build_aqr(**blocks, preset="historical")
    assert parts is not None and parts.weight_renderer.min_weight_threshold == 0.2
    assert blocks == before


def test_an_unknown_preset_names_the_three():
    with pytest.raises(ConfigError, match="'gentle'; allowed are 'historical', 'moderate', 'aggressive'"):
        build_aqr(**BLOCKS, preset="gentle")


@pytest.mark.parametrize(
    ("block", "field", "value"),
    [
        ("renderer_config", "max_weight_clamp", 3.0),
        ("renderer_config", "clamp_schedule", [(0, 2.5), (6, 2.0)]),
        ("modulator_config", "residual_weight", 0.9),
        ("aqr_config", "activation", "sigmoid2"),
    ],
)
def test_a_field_beside_a_preset_must_agree_with_it(block, field, value):
    blocks = {**BLOCKS, block: {**BLOCKS[block], field: value}}
    with pytest.raises(ConfigError, match=rf"'historical' means {block}.{field}=.*states .*; remove one of the two"):
        build_aqr(**blocks, preset="historical")
    agreeing = {**BLOCKS, block: {**BLOCKS[block], field: PRESETS["historical"][block][field]}}
    assert build_aqr(**agreeing, preset="historical") is not None


def test_presets_are_not_for_other_variants():
    bias = dict(BLOCKS, renderer_config=None, modulator_config=None, attention_bias_config=dict(type="X"))
    for blocks in (bias, dict.fromkeys(BLOCKS)):
        with pytest.raises(ConfigError, match="'moderate', which is for AQR v1 and v2, but the head has no renderer"):
            build_aqr(**blocks, preset="moderate")
