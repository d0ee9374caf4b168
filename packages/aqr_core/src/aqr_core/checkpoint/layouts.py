"""Foreign names and layouts of tensors, recognised by the model that they are meant for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from aqr_core.models.foreign import is_spconv
from aqr_core.models.voxel.sparse_conv import SparseConvolution

IMAGE_BACKBONE = "img_backbone."
Tensors = Mapping[str, Tensor]


def convert(tensors: Tensors, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Tensors under the model's names and in its layout, and how many every conversion concerned.

    Distributed wrappers, image backbones trained alone or in another detector, sparse kernels of spconv 1.x, and batch
    norms from before PyTorch 0.4.1. Keys that no conversion knows stay as they are.
    """
    converted: dict[str, int] = {}
    for name, step in _STEPS.items():
        changed = step(tensors, model)
        if changed is not None:
            tensors, converted[name] = changed
    return dict(tensors), converted


def _unwrap(tensors: Tensors, model: nn.Module) -> tuple[Tensors, int] | None:
    """`module.x` -> `x`, where every key has the prefix and the model has none of them."""
    own = model.state_dict()
    if not tensors or not all(key.startswith("module.") for key in tensors) or any(key in own for key in tensors):
        return None
    return {key.removeprefix("module."): value for key, value in tensors.items()}, len(tensors)


def _rename_backbone(tensors: Tensors, model: nn.Module) -> tuple[Tensors, int] | None:
    """`backbone.layer1...` of mmdetection and bare `layer1...` of torchvision -> `img_backbone.layer1...`."""
    children = {key.split(".")[1] for key in model.state_dict() if key.startswith(IMAGE_BACKBONE)}
    if not children or any(key.startswith((IMAGE_BACKBONE, "pts_")) for key in tensors):
        return None
    prefix = "backbone." if any(key.startswith("backbone.") for key in tensors) else ""
    names = {key: key.removeprefix(prefix) for key in tensors if key.startswith(prefix)}
    renamed = {key: IMAGE_BACKBONE + name for key, name in names.items() if name.split(".")[0] in children}
    if not renamed:
        return None
    return {renamed.get(key, key): value for key, value in tensors.items()}, len(renamed)


def _permute_kernels(tensors: Tensors, model: nn.Module) -> tuple[Tensors, int] | None:
    """(kz, ky, kx, in, out) of spconv 1.x and mmcv -> (out, kz, ky, kx, in).

    The shapes decide, over all kernels together: every one must fit the old layout and one at least not the new one.
    A single kernel can fit both (3 -> 3 channels, 3x3x3); where all do, the file is taken as new. mmdet3d goes by the
    `version` in the state dict's metadata, which files of other origin do not have.
    """
    shapes = {
        f"{name}.weight": module.get_parameter("weight").shape
        for name, module in model.named_modules()
        if isinstance(module, SparseConvolution) or is_spconv(module)
    }
    present = {key: shape for key, shape in shapes.items() if key in tensors}
    old = {key: torch.Size([*shape[1:], shape[0]]) for key, shape in present.items()}
    fits_old = all(tensors[key].shape == shape for key, shape in old.items())
    if not fits_old or all(tensors[key].shape == shape for key, shape in present.items()):
        return None
    kernels = {key: tensors[key].permute(4, 0, 1, 2, 3).contiguous() for key in present}
    return {**tensors, **kernels}, len(kernels)


def _start_counters(tensors: Tensors, model: nn.Module) -> tuple[Tensors, int] | None:
    """Batch norms of old files do not count their batches; nothing but a cumulative average reads the count."""
    counters = {
        key: torch.zeros_like(value, device="cpu")
        for key, value in model.state_dict().items()
        if re.search(r"(^|\.)num_batches_tracked$", key)
        and key not in tensors
        and key.removesuffix("num_batches_tracked") + "running_mean" in tensors
    }
    return ({**tensors, **counters}, len(counters)) if counters else None


_STEPS: dict[str, Callable[[Tensors, nn.Module], tuple[Tensors, int] | None]] = {
    "prefix 'module.' of a distributed wrapper removed": _unwrap,
    f"image backbone renamed to '{IMAGE_BACKBONE}'": _rename_backbone,
    "sparse kernels of spconv 1.x permuted to (out, z, y, x, in)": _permute_kernels,
    "batch counters that the file lacks set to 0": _start_counters,
}
