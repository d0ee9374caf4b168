"""Weights of any origin -> a model, with a report of what happened."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from aqr_core.checkpoint.class_guard import TASK_HEADS, check_classes
from aqr_core.checkpoint.geometry_guard import check_geometry
from aqr_core.checkpoint.layouts import convert
from aqr_core.checkpoint.read import WeightsFile, read_weights_file
from aqr_core.checkpoint.reasons import (
    IMAGE_NECK,
    explain_absent,
    explain_other_variant,
    explain_pretraining,
    explain_unused,
    is_pretraining,
)
from aqr_core.checkpoint.report import LoadReport, name_first
from aqr_core.errors import CheckpointError


@dataclass(frozen=True)
class Match:
    """A file seen with the eyes of a model.

    Attributes:
        tensors: what the model can take, by its own names and in its own layout; every shape fits.
        report: see `LoadReport`.
    """

    tensors: Mapping[str, Tensor]
    report: LoadReport


def load_weights(
    model: nn.Module, path: str | Path, strict: bool = True, *, assume_geometry: bool = False
) -> LoadReport:
    """Copy weights from disk into `model`.

    Args:
        model: receives the values on its own device and in its own dtype.
        path: a checkpoint folder, a `.safetensors` file, or a file of `torch.save`: a bare state dict, or mmcv's with
            `meta` and `optimizer`. See `layouts.convert` for the foreign forms.
        strict: every tensor of the model gets a value, and every tensor of the file has a place or a known reason to
            have none; the report is logged. Otherwise the caller reads and logs it.
        assume_geometry: take a file that does not state its geometry as trained with the model's.

    Raises:
        CheckpointError: unreadable file, no key in common, a value that is not finite, a shape, the geometry or the
            classes differ, or what `strict` forbids.
    """
    file = read_weights_file(path)
    match = match_weights(model, file, assume_geometry=assume_geometry)
    report = match.report
    if strict:
        _check_whole(path, report)
        report.log(path)
    put_weights(model, match.tensors)
    return report


def put_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors that have the model's names and layout into it, on its own device and in its own dtypes.

    A plain dict does not state the versions of the modules that wrote it, and some take that for an old layout: mmdet3d
    has spconv's layers permute every kernel of such a dict. The versions of the layout here are the model's own.
    """
    state: OrderedDict[str, Tensor] = OrderedDict(tensors)
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=False)


def match_weights(model: nn.Module, file: WeightsFile, *, assume_geometry: bool = False) -> Match:
    """Find the place of every tensor, without changing the model.

    Raises:
        CheckpointError: no key in common, or a shape, the geometry or the classes differ.
    """
    tensors, converted = convert(file.tensors, model)
    own = model.state_dict()
    unused = explain_unused((key for key in tensors if key not in own), own)
    if is_pretraining(tensors):
        unused |= explain_pretraining(key for key in tensors if key not in own)
        neck = [key for key in tensors if key.startswith(IMAGE_NECK)]
        if any(key not in own or tensors[key].shape != own[key].shape for key in neck):
            unused["image neck of the detector in which the backbone was pretrained"] = neck
    variant_parts, variant_predictor = explain_other_variant(own, tensors)
    unused |= variant_parts
    left_out = {key for keys in (*unused.values(), *variant_predictor.values()) for key in keys}
    tensors = {key: value for key, value in tensors.items() if key not in left_out}
    fitting = {key: tensors[key] for key in own if key in tensors}
    if not fitting:
        raise CheckpointError(
            f"{file.path} shares no tensor with the model (first keys: {name_first(tuple(file.tensors))}); "
            "it belongs to another model, choose its own config."
        )
    _check_shapes(file, fitting, own)
    _check_finite(file, fitting)
    check_classes(file, fitting, model)
    notes = check_geometry(file, fitting, model, assume_geometry)
    absent = explain_absent((key for key in own if key not in tensors), tensors) | variant_predictor
    initial = {key for keys in absent.values() for key in keys}
    report = LoadReport(
        loaded=tuple(fitting),
        converted=converted,
        missing=tuple(key for key in own if key not in tensors and key not in initial),
        unexpected=tuple(key for key in tensors if key not in own),
        absent={reason: tuple(keys) for reason, keys in absent.items()},
        unused={reason: tuple(keys) for reason, keys in unused.items()},
        notes=notes,
    )
    return Match(fitting, report)


def _check_whole(path: str | Path, report: LoadReport) -> None:
    unexplained = report.unexplained()
    if unexplained:
        raise CheckpointError(f"{path} does not fit the model, {unexplained}; use its own config.")
    if report.absent:
        reason, keys = next(iter(report.absent.items()))
        raise CheckpointError(
            f"{path} does not fit the model, missing: {name_first(keys)} ({reason}); use its own config, or train from "
            "it with load_from."
        )


def _check_finite(file: WeightsFile, fitting: Mapping[str, Tensor]) -> None:
    bad = [key for key, value in fitting.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise CheckpointError(
            f"{file.path} holds NaN or infinity in {name_first(bad)}; take a checkpoint from before the run diverged, "
            "or another copy."
        )


def _check_shapes(file: WeightsFile, fitting: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    other = [key for key, value in fitting.items() if value.shape != own[key].shape]
    if not other:
        return
    shapes = [f"{key}: file {tuple(fitting[key].shape)}, model {tuple(own[key].shape)}" for key in other]
    hint = ""
    if all(key.startswith(TASK_HEADS) and fitting[key].shape[:-1] == own[key].shape[:-1] for key in other):
        hint = " (upstream's LiDAR-only model has task heads with final_kernel=3, all others 1)"
    raise CheckpointError(
        f"{file.path} does not fit, it belongs to another model: {name_first(shapes)}{hint}; use its own config."
    )
