"""What modules of mmdet3d and mmdet expect and return where ours do otherwise, so that either can be a child.

| child | ours | theirs |
| --- | --- | --- |
| voxel encoder | takes `Voxels` of one sample | takes (V, M, C) padded points, (V,) counts, (V, 4) cells of a batch |
| BEV neck | returns a map | returns a list of maps |
| weights | drawn by the constructor | drawn by `init_weights()`, as `init_cfg` says, when training begins |
| sparse layers | train on any device | spconv's: train on CUDA only |
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError, one_line
from aqr_core.models.voxel.voxelize import Voxels

logger = logging.getLogger(__name__)


def finest(maps: Tensor | Sequence[Tensor]) -> Tensor:
    """The one map that is read: the map itself, or the first and finest of several."""
    return maps if isinstance(maps, Tensor) else maps[0]


def encode_voxels(encoder: nn.Module, voxels: Sequence[Voxels], coords: Tensor, max_num_points: int) -> Tensor:
    """One vector per voxel of a batch.

    Args:
        encoder: ours, or one of mmdet3d's for hard voxels, which names an input `num_points`.
        voxels: per sample.
        coords: (V, 4) b, z, y, x of all of them.
        max_num_points: M, the most points that a voxel holds.

    Returns:
        (V, C').
    """
    if not _takes_padded_points(type(encoder).forward):
        return torch.cat([encoder(v) for v in voxels])
    padded = [v.padded(max_num_points) for v in voxels]
    return encoder(torch.cat([points for points, _ in padded]), torch.cat([count for _, count in padded]), coords)


@cache
def _takes_padded_points(forward: Callable[..., Any]) -> bool:
    return "num_points" in inspect.signature(forward).parameters


def check_backward(encoder: nn.Module, features: Tensor) -> None:
    """Refuse to train spconv's own layers on a CPU, where their backward pass fails in the middle of it.

    Args:
        encoder: the sparse encoder.
        features: (V, C) its input.

    Raises:
        ConfigError: a gradient would have to pass through such layers.
    """
    if features.device.type != "cpu" or not (encoder.training and torch.is_grad_enabled()):
        return
    learns = features.requires_grad or any(parameter.requires_grad for parameter in encoder.parameters())
    if learns and any(map(is_spconv, encoder.modules())):
        library = type(encoder).__module__.split(".")[0]
        raise ConfigError(
            f"{library}.{type(encoder).__name__} is built of spconv's layers, which have "
            "no backward pass on a CPU; use our type='SparseEncoder' (the same weights and numbers), freeze "
            "pts_middle_encoder by optimizer.param_groups, or train on a GPU."
        )


def is_spconv(module: nn.Module) -> bool:
    """Whether it is a convolution of spconv itself, with weights (out, z, y, x, in)."""
    return any(base.__module__ == "spconv.pytorch.conv" for base in type(module).__mro__)


def init_weights(model: nn.Module) -> frozenset[str]:
    """Let mmengine's modules draw or read their weights as their `init_cfg` says, once.

    mmengine's runner does this when training begins. So does our trainer, before `load_from` and not where a run goes
    on or predicts: the checkpoint has the weights, and the file that `init_cfg` may name need not be there any more.

    Returns:
        Full names of the parameters below a module whose `init_cfg` reads a file (`type='Pretrained'`).

    Raises:
        ConfigError: the file is absent or cannot be read, or `init_cfg` is wrong otherwise.
    """
    given: set[str] = set()
    for prefix, module in _outermost(model):
        try:
            with _without_chatter():
                module.init_weights()
        except Exception as error:  # of a file, of a download, or of an initialiser's arguments
            raise ConfigError(
                f"The init_cfg of model.{prefix} failed ({type(error).__name__}: {one_line(error)}); correct it, or "
                "set it to None and name the weights by load_from."
            ) from error
        logger.info("model.%s: weights as its init_cfg says.", prefix)
        for name, part in module.named_modules(prefix=prefix):
            if _reads_file(getattr(part, "init_cfg", None)):
                given |= {inner for inner, _ in part.named_parameters(prefix=name)}
    return frozenset(given)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Warnings only: mmengine would print five lines for each parameter."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _outermost(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Those of mmengine's modules that are in no other of them: what is inside is initialised by the outer one."""
    inside: set[int] = set()
    for name, module in model.named_modules():
        is_theirs = isinstance(getattr(module, "is_init", None), bool) and hasattr(module, "init_weights")
        if is_theirs and id(module) not in inside:
            inside |= {id(part) for part in module.modules()}
            if not module.is_init:
                yield name, module


def _reads_file(init_cfg: Any) -> bool:  # noqa: ANN401 - None, a dict or a list of them
    several = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    return any(isinstance(one, Mapping) and one.get("type") == "Pretrained" for one in several)
