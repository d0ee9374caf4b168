"""Which AQR variant a head config asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.interface import AqrVariant
from aqr_core.registry import MODELS, build


def build_aqr(
    aqr_config: Mapping[str, Any] | None,
    renderer_config: Mapping[str, Any] | None,
    modulator_config: Mapping[str, Any] | None,
    attention_bias_config: Mapping[str, Any] | None,
) -> tuple[nn.Module | None, AqrVariant | None]:
    """The weight generator and the variant that uses its weights; (None, None) without AQR.

    `attention_bias_config` means v3. `renderer_config` with `modulator_config` means v1 or v2.

    Raises:
        ConfigError: a combination that means no variant, or one that this version does not have.
    """
    blocks = {
        "aqr_config": aqr_config,
        "renderer_config": renderer_config,
        "modulator_config": modulator_config,
        "attention_bias_config": attention_bias_config,
    }
    given = [name for name, block in blocks.items() if block is not None]
    if not given:
        return None, None
    if attention_bias_config is not None and (renderer_config is not None or modulator_config is not None):
        raise ConfigError(
            f"The head has {', '.join(given)}: feature modulation (v1, v2) and attention bias (v3) exclude each other; "
            "set the blocks of one variant to None."
        )
    if renderer_config is not None or modulator_config is not None:
        raise ConfigError(
            f"The head has {', '.join(given)}, which means AQR v1 or v2; this version has only v3, so configure "
            "attention_bias_config instead."
        )
    if aqr_config is None or attention_bias_config is None:
        raise ConfigError(f"The head has {given[0]} alone; AQR v3 needs aqr_config and attention_bias_config.")
    return build(aqr_config, MODELS), build(attention_bias_config, MODELS)
