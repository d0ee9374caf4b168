"""Which AQR variant a head config asks for, and what that variant does between the features and the decoder.

| blocks | variant | where the weights act |
| --- | --- | --- |
| `renderer_config`, `modulator_config` | v1 | tokens times weight maps |
| the same with `residual_connection` | v2 | a share of the tokens times weight maps |
| `attention_bias_config` | v3 | logits of the cross-attention |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.interface import AqrOutput
from aqr_core.models.aqr.presets import apply_preset
from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.head.attention import AttentionBias
from aqr_core.registry import MODELS, build

BLOCK_TYPES = {
    "aqr_config": "AQRWeightGenerator",
    "renderer_config": "WeightRenderer",
    "modulator_config": "FeatureModulator",
    "attention_bias_config": "AttentionBiasGenerator",
}


# Keys of a head config, one per part, in the order of `AqrParts`.
AQR_BLOCKS = ("aqr_config", "renderer_config", "modulator_config", "attention_bias_config")


@dataclass(frozen=True)
class Routed:
    """What the decoder works with.

    Attributes:
        tokens: (B, T, C) memory.
        bias: of the cross-attention logits, None for none.
        output: the weights of the matching queries and what became of them.
    """

    tokens: Tensor
    bias: AttentionBias | None
    output: AqrOutput


class AqrParts(NamedTuple):
    """The four AQR children of a head; those of another variant are None."""

    weight_generator: nn.Module
    weight_renderer: nn.Module | None = None
    feature_modulator: nn.Module | None = None
    attention_bias_generator: nn.Module | None = None

    def route(
        self, query_pos: Tensor, tokens: Tensor, token_pos: Tensor, cells: QueryCells, num_denoising: int
    ) -> Routed:
        """Weigh the queries and let the weights act.

        Args:
            query_pos: (B, S + Q, C) fused query embedding, denoising slots first.
            tokens: (B, T, C) memory.
            token_pos: (B, T, C) its positions.
            cells: where the S + Q queries fall on the maps.
            num_denoising: S.
        """
        matching = slice(num_denoising, None)
        own_cells = cells.select(matching)
        if self.attention_bias_generator is not None:
            weights = self.weight_generator(query_pos, tokens, token_pos, cells)
            bias = self.attention_bias_generator(weights, cells)
            scale: Any = self.attention_bias_generator.scale
            return Routed(tokens, bias, AqrOutput(weights[:, matching], own_cells, scale=scale))
        assert self.weight_renderer is not None and self.feature_modulator is not None
        # Denoising queries sit where the ground truth is: maps that showed them would tell the decoder of it.
        weights = self.weight_generator(query_pos[:, matching], tokens, token_pos, own_cells)
        maps = self.weight_renderer(weights, own_cells)
        tokens, change = self.feature_modulator(tokens, maps)
        return Routed(tokens, None, AqrOutput(weights, own_cells, maps=maps, feature_change=change))


def build_aqr(
    aqr_config: Mapping[str, Any] | None,
    renderer_config: Mapping[str, Any] | None,
    modulator_config: Mapping[str, Any] | None,
    attention_bias_config: Mapping[str, Any] | None,
    preset: str | None = None,
) -> AqrParts | None:
    """The parts of the variant that the blocks of a head config mean; None without AQR.

    A preset (v1, v2) adds fields to the blocks, see `presets`.

    The weight generator's `activation` follows from the variant unless given: tanh (neutral at 0) in v3, sigmoid2
    (neutral at 1) in v1 and v2.

    Raises:
        ConfigError: a combination that means no variant, a block of another type, or an activation of another variant.
    """
    configs = (aqr_config, renderer_config, modulator_config, attention_bias_config)
    blocks = dict(zip(AQR_BLOCKS, configs, strict=True))
    if preset is not None:
        blocks = apply_preset(preset, blocks)
    given = [name for name, block in blocks.items() if block is not None]
    if not given:
        return None
    if attention_bias_config is not None and (renderer_config is not None or modulator_config is not None):
        raise ConfigError(
            f"The head has {', '.join(given)}: feature modulation (v1, v2) and attention bias (v3) exclude each other; "
            "set the blocks of one variant to None."
        )
    complete = (
        ["aqr_config", "attention_bias_config"],
        ["aqr_config", "renderer_config", "modulator_config"],
    )
    if given not in complete:
        raise ConfigError(
            f"The head has {', '.join(given)} alone; AQR v3 is aqr_config with attention_bias_config, v1 and v2 are "
            "aqr_config with renderer_config and modulator_config."
        )
    allowed = ("tanh",) if attention_bias_config is not None else ("sigmoid2", "sigmoid")
    generator_config = blocks["aqr_config"]
    assert generator_config is not None
    generator = _build_part("aqr_config", {"activation": allowed[0], **generator_config})
    if generator.activation not in allowed:
        raise ConfigError(
            f"aqr_config.activation is {generator.activation!r}, but with {given[-1]} it must be one of "
            f"{', '.join(map(repr, allowed))}: weights that change nothing would change something."
        )
    return AqrParts(generator, *(_build_part(key, blocks[key]) for key in list(BLOCK_TYPES)[1:]))


def _build_part(key: str, block: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - one of `BLOCK_TYPES`
    if block is None:
        return None
    part = build(block, MODELS)
    if not isinstance(part, MODELS.get(BLOCK_TYPES[key])):
        raise ConfigError(f"{key}.type is {block['type']!r}; it must be {BLOCK_TYPES[key]!r}.")
    return part
