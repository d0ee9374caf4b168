"""The AQR blocks of an earlier implementation: the same names, a nested encoder, switches for printing."""

from __future__ import annotations

import inspect
from typing import Any

from aqr_core.models.aqr.variant import AQR_BLOCKS, BLOCK_TYPES
from aqr_core.registry import MODELS
from aqr_train.config_conversion.fields import Fields

_PRINTING = ("debug_mode", "debug_print", "print_interval", "visualization_interval", "warn_threshold")
_WATCHED = "every run logs and draws the weights (docs/aqr.md)"
_SHAPES = "the maps are measured"


# Fields of the head that `convert_aqr` accounts for.
AQR_FIELDS = (*AQR_BLOCKS, *_PRINTING, "enable_aqr", "use_simple_modulation")


def convert_aqr(head: Fields) -> dict[str, Any]:
    """The blocks of AQR in a head's fields; nothing where it has none."""
    present = [name for name in AQR_BLOCKS if head.get(name) is not None]
    enabled = bool(head.get("enable_aqr", True))
    head.derive("enable_aqr", "the blocks of AQR", "the blocks switch AQR on")
    head.fixed("use_simple_modulation", False, why="features are modulated by FeatureModulator")
    for name in _PRINTING:
        head.drop(name, _WATCHED)
    out: dict[str, Any] = {}
    for name in AQR_BLOCKS:
        if not enabled:
            head.drop(name, "enable_aqr=False")
        elif name in present:
            if "attention_bias_config" in present and name in ("renderer_config", "modulator_config"):
                head.drop(name, "unused beside attention_bias_config")
            else:
                out[name] = _convert_block(head.child(name), BLOCK_TYPES[name])
        else:
            head.drop(name, "not set")
    if out:
        head.ledger.note(
            "AQR starts neutral here: before the first step the model is its baseline. An earlier implementation "
            "started its predictor at 1.5; aqr_config.init=dict(bias=1.5) does so too."
        )
    if "renderer_config" in out:
        head.ledger.note(
            "Weight maps are means here, 1 where no query is near; an earlier implementation summed, which erases what "
            "no query sees: renderer_config.composition='sum' does so too."
        )
    return out


def _convert_block(block: Fields, kind: str) -> dict[str, Any]:
    out: dict[str, Any] = {"type": kind}
    if "type" in block:
        block.fixed("type", kind, why="the block has one type")
    taken = inspect.signature(MODELS.get(kind)).parameters
    for name in block:
        if name in _PRINTING:
            block.drop(name, _WATCHED)
        elif name == "encoder_config":
            out |= _convert_encoder(block.child(name))
        elif name in taken and name != "type":
            out[name] = block.keep(name)
        elif name in ("bev_feature_shape", "pers_feature_shape"):
            block.drop(name, _SHAPES)
    return out


def _convert_encoder(encoder: Fields) -> dict[str, Any]:
    """The one decoder layer of the weight generator -> its own arguments."""
    target = "aqr_config"
    out: dict[str, Any] = {}
    encoder.fixed("type", "PETRTransformerDecoder", why="the generator has its own encoder")
    encoder.drop("return_intermediate", "the last layer counts")
    if "num_layers" in encoder:
        out["num_layers"] = encoder.rename("num_layers", f"{target}.num_layers")
    layer = encoder.child("transformerlayers")
    layer.fixed("type", "PETRTransformerDecoderLayer", why="the generator has its own encoder")
    layer.fixed("operation_order", ("cross_attn", "norm", "ffn", "norm"), why="the generator's order")
    layer.drop("feedforward_channels", "ffn_cfgs decides")
    if "with_cp" in layer:
        out["with_cp"] = layer.rename("with_cp", f"{target}.with_cp")
    for attention in layer.children("attn_cfgs")[:1]:
        attention.drop("type", "the generator attends to windows")
        attention.drop("embed_dims", "aqr_config.embed_dims decides")
        for name in ("num_heads", "dropout"):
            if name in attention:
                out[name] = attention.rename(name, f"{target}.{name}")
    network = layer.child("ffn_cfgs")
    network.fixed("type", "FFN", why="the generator has this one")
    network.drop("embed_dims", "aqr_config.embed_dims decides")
    network.fixed("num_fcs", 2, why="the generator has two")
    network.fixed("act_cfg", {"type": "ReLU", "inplace": True}, {"type": "ReLU"}, why="the generator has this one")
    network.fixed("ffn_drop", out.get("dropout", 0.1), why="one dropout holds for the encoder")
    if "feedforward_channels" in network:
        out["feedforward_channels"] = network.rename("feedforward_channels", f"{target}.feedforward_channels")
    return out
