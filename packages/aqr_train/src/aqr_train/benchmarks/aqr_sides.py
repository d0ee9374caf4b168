"""The baseline and the AQR variants of one model, alike but for the AQR blocks of their head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from aqr_core.config import config_names, load_config
from aqr_core.errors import ConfigError
from aqr_core.models.aqr.variant import AQR_BLOCKS
from aqr_train.assembly import build_model
from aqr_train.seeding import seed_all

BASELINE, RECIPE = "baseline", "v3, backbones frozen"
_PREFIX = "cmt_"
_SPREAD = 0.05  # deviation of the predictor's weights; its inputs have deviation 1 in 256 channels


@dataclass(frozen=True)
class Variant:
    """How a variant is configured.

    Attributes:
        prefix: of the shipped config, in place of the baseline's `cmt_`.
        bias: what differs from the `attention_bias_config` there.
    """

    prefix: str
    bias: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "v1": Variant("cmt_aqr_v1_"),
    "v2": Variant("cmt_aqr_v2_"),
    "v3": Variant("cmt_aqr_"),
    "v3-gaussian": Variant("cmt_aqr_", {"use_gaussian_window": True}),
    "v3-global": Variant("cmt_aqr_", {"use_local_bias": False}),
}


def side_configs(baseline: str, variants: Sequence[str], backends: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The baseline, the variants, and v3 once per attention backend; name -> config.

    A variant has the AQR blocks of the shipped config and everything else, trainable parameters too, of the baseline.
    """
    configs: dict[str, Mapping[str, Any]] = {BASELINE: load_config(baseline)}
    configs |= {name: _variant_config(baseline, name, VARIANTS[name].bias) for name in variants}
    configs |= {
        f"v3, {backend}": _variant_config(baseline, "v3", {"attention_backend": backend}) for backend in backends
    }
    return configs


def shipped_config(baseline: str, variant: str) -> Mapping[str, Any]:
    """The variant as it is trained.

    Raises:
        ConfigError: `baseline` is not the name of a config that has AQR siblings.
    """
    name = VARIANTS[variant].prefix + baseline.removeprefix(_PREFIX)
    if name not in config_names():
        raise ConfigError(
            f"--config {baseline} has no AQR sibling {name}; name a shipped baseline that has, such as cmt_tiny."
        )
    config: Mapping[str, Any] = load_config(name)
    return config


def build_side(config: Mapping[str, Any], device: torch.device) -> tuple[Any, torch.optim.Optimizer]:
    """Detector in training mode with the weights of seed 0, AQR's decisions spread, and its optimiser."""
    seed_all(0)
    model, grouping = build_model(config, load_initial=False)
    generator = getattr(model.pts_bbox_head, "aqr_weight_generator", None)
    if generator is not None:
        spread_weights(generator.predictor)
    return model.to(device).train(), grouping.make_optimizer(model)


@torch.no_grad()
def spread_weights(predictor: nn.Linear) -> None:
    """Away from the neutral start, at which a clever implementation could skip work that training needs."""
    predictor.weight.normal_(std=_SPREAD, generator=torch.Generator().manual_seed(0))


def _variant_config(baseline: str, variant: str, bias: Mapping[str, Any]) -> Mapping[str, Any]:
    config: Any = load_config(baseline)
    head = config["model"]["pts_bbox_head"]
    blocks = shipped_config(baseline, variant)["model"]["pts_bbox_head"]
    head.update({block: blocks[block] for block in AQR_BLOCKS if block in blocks})
    if bias:
        head["attention_bias_config"].update(bias)
    return dict(config)
