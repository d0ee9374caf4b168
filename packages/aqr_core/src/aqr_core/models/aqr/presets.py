"""Named settings of v1 and v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aqr_core.errors import ConfigError

Block = Mapping[str, Any]

# What each preset puts into the blocks. A schedule would take the place of the clamp, so there is none.
PRESETS: dict[str, dict[str, Block]] = {
    # The earlier implementation: weights that only damp, from a constant start, added up over the queries.
    "historical": dict(
        aqr_config=dict(activation="sigmoid", init=dict(bias=1.5)),
        renderer_config=dict(composition="sum", max_weight_clamp=1.5, clamp_schedule=None),
        modulator_config=dict(residual_weight=0.7),
    ),
    "moderate": dict(
        renderer_config=dict(max_weight_clamp=2.0, clamp_schedule=None), modulator_config=dict(residual_weight=0.65)
    ),
    "aggressive": dict(
        renderer_config=dict(max_weight_clamp=2.5, clamp_schedule=None), modulator_config=dict(residual_weight=0.5)
    ),
}


def apply_preset(name: str, blocks: Mapping[str, Block | None]) -> dict[str, Block | None]:
    """The blocks of a head config with the fields of a preset; v1 does not read `residual_weight`.

    Args:
        name: one of `PRESETS`.
        blocks: by config key; those of v1 and v2 are there.

    Raises:
        ConfigError: an unknown preset, blocks of another variant, or a block that states another value for one of the
            fields, since either reading would be a surprise.
    """
    if name not in PRESETS:
        raise ConfigError(f"aqr_preset is {name!r}; allowed are {', '.join(map(repr, PRESETS))}.")
    filled = dict(blocks)
    for key, fields in PRESETS[name].items():
        block = blocks[key]
        if block is None:
            raise ConfigError(
                f"aqr_preset is {name!r}, which is for AQR v1 and v2, but the head has no {key}; drop one."
            )
        for field, value in fields.items():
            if block.get(field, value) != value:
                raise ConfigError(
                    f"aqr_preset {name!r} means {key}.{field}={value!r}, but the config states {block[field]!r}; "
                    "remove one of the two."
                )
        filled[key] = {**block, **fields}
    return filled
