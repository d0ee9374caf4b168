"""Why a tensor of the file finds no place in the model, or the other way round, where there is a good reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aqr_core.checkpoint.layouts import IMAGE_BACKBONE

IMAGE_NECK = "img_neck."
_HEAD = "pts_bbox_head."
_TRANSFORMER = f"{_HEAD}transformer."
_AQR, _AQR_BIAS = f"{_HEAD}aqr_weight_generator.", f"{_HEAD}attention_bias_generator."
_AQR_MODULATION, _AQR_CLAMP = f"{_HEAD}feature_modulator.", f"{_HEAD}weight_renderer."
_CMT = (IMAGE_BACKBONE, IMAGE_NECK, "pts_middle_encoder.", "pts_backbone.", "pts_neck.", _HEAD)


@dataclass(frozen=True)
class _Part:
    """A part that some detectors of the family have and others lack.

    Attributes:
        name: for the report.
        prefixes: of its state-dict keys.
        unused: what it means that a model goes without it; empty where the name says it all, None where the rest of
            the weights is worth nothing without it.
        initial: what it means that a file goes without it.
    """

    name: str
    prefixes: tuple[str, ...]
    unused: str | None = ""
    initial: str = ""


_PARTS = (
    _Part("camera branch", (IMAGE_BACKBONE, IMAGE_NECK, f"{_HEAD}rv_embedding.")),
    _Part("LiDAR branch", ("pts_middle_encoder.", "pts_backbone.", "pts_neck.", f"{_HEAD}shared_conv.")),
    _Part("AQR weight generator", (_AQR,), None, "it starts neutral"),
    _Part("AQR attention bias", (_AQR_BIAS,), None, "it starts as configured"),
    _Part("AQR learned modulation", (_AQR_MODULATION,), None, "it starts neutral"),
    _Part("AQR clamp schedule", (_AQR_CLAMP,), "max_weight_clamp holds", "it starts at its first epoch"),
    _Part(
        "MoME router",
        (f"{_TRANSFORMER}encoder.", f"{_TRANSFORMER}selected_cls."),
        "it chooses one of three decodings per query, here every query reads both modalities; config "
        "mome_voxel0075_vov_1600x640_cbgs has it",
        "it starts with every query at the fused expert",
    ),
    _Part(
        "MoME camera code",
        (f"{_TRANSFORMER}cam_embed.",),
        "only its camera expert reads it",
    ),
    _Part(
        "MoME type embeddings",
        (f"{_TRANSFORMER}bev_type_embed", f"{_TRANSFORMER}rv_type_embed"),
        "MoME adds them to the query codes, so predictions differ from MoME's; config moad_voxel0075_vov_1600x640_cbgs "
        "has them",
    ),
    _Part("MEFormer ensemble", (f"{_HEAD}ensemble.",), "it rescores what the decodings have found"),
)


def explain_unused(keys: Iterable[str], own: Mapping[str, object]) -> dict[str, list[str]]:
    """Reason -> keys of a file that a model with the keys `own` has no place for; unexplained keys are left out."""
    explained: dict[str, list[str]] = {}
    for key in keys:
        for part in _PARTS:
            prefix = next((prefix for prefix in part.prefixes if key.startswith(prefix)), None)
            if prefix is not None and part.unused is not None and not _has(own, prefix):
                reason = _sentence(f"{part.name}, which this model does not have", part.unused)
                explained.setdefault(reason, []).append(key)
    return explained


def explain_absent(keys: Iterable[str], tensors: Mapping[str, object]) -> dict[str, list[str]]:
    """Reason -> keys of a model for which a file with the keys `tensors` holds no value.

    A part must be absent as a whole: a LiDAR branch without its neck is a damaged file, not one of a camera detector.
    Modules beyond CMT's, and all others where the file is an image backbone alone, are explained one by one.
    """
    absent = [part for part in _PARTS if not any(_has(tensors, prefix) for prefix in part.prefixes)]
    explained: dict[str, list[str]] = {}
    for key in keys:
        part = next((part for part in absent if key.startswith(part.prefixes)), None)
        module = key.split(".")[0] + "."
        if part is None and (is_pretraining(tensors) or module not in _CMT) and not _has(tensors, module):
            part = _Part("modules", (module,))
        if part is not None:
            reason = _sentence(f"{part.name}, which the file does not hold", part.initial)
            explained.setdefault(reason, []).append(key)
    return explained


def explain_other_variant(
    own: Mapping[str, object], tensors: Mapping[str, object]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What a file of another AQR variant holds in vain for a model with the keys `own`.

    What the weight generator has learned to see serves all variants. Its last layer was trained for what the weights
    do: a bias of logits in v3, a factor of features in v1 and v2. Carried over, it would change the detector at once.

    Returns:
        reason -> keys of the file that the model has no place for; reason -> keys that both have and that stay initial.
    """
    if not (_has(own, _AQR) and _has(tensors, _AQR)) or _has(own, _AQR_BIAS) == _has(tensors, _AQR_BIAS):
        return {}, {}
    parts = [key for key in tensors if key not in own and key.startswith((_AQR_BIAS, _AQR_MODULATION))]
    predictor = [key for key in own if key in tensors and key.startswith(f"{_AQR}predictor.")]
    return (
        {"AQR of another variant, which this model does not have": parts} if parts else {},
        {"AQR predictor, which the file holds for another variant: it starts neutral": predictor} if predictor else {},
    )


def explain_pretraining(keys: Iterable[str]) -> dict[str, list[str]]:
    """Reason -> keys of a file whose image backbone was trained for another task."""
    explained: dict[str, list[str]] = {}
    for key in keys:
        if key.startswith("fc."):
            explained.setdefault("classifier of the backbone's pretraining", []).append(key)
        elif not key.startswith((IMAGE_BACKBONE, IMAGE_NECK)):
            explained.setdefault("parts of the detector in which the backbone was pretrained", []).append(key)
    return explained


def is_pretraining(tensors: Mapping[str, object]) -> bool:
    """Whether a file holds an image backbone and no part of a detector on points or queries."""
    return _has(tensors, IMAGE_BACKBONE) and not _has(tensors, "pts_")


def _sentence(fact: str, meaning: str) -> str:
    return f"{fact}: {meaning}" if meaning else fact


def _has(keys: Mapping[str, object], prefix: str) -> bool:
    return any(key.startswith(prefix) for key in keys)
