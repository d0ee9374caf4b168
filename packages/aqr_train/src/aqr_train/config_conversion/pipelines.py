"""`train_pipeline` and `test_pipeline`: the walk over their steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import aqr_core.data  # noqa: F401 - registers the transforms
from aqr_core.registry import TRANSFORMS
from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.image_steps import normalise, pad, resize
from aqr_train.config_conversion.loading_steps import load_boxes, load_images, load_points, load_sweeps
from aqr_train.config_conversion.scene_steps import flip, mask, paste, rotate_all, rotate_images
from aqr_train.config_conversion.surroundings import Steps, Surroundings, taken

_MOVING = ("GlobalRotScaleTransAll", "GlobalRotScaleTransImage", "CustomRandomFlip3D", "ResizeCropFlipImage")


def convert_pipeline(steps: list[Fields], around: Surroundings) -> Steps:
    """The steps of ours, in order; masks of a sensor go first where they may."""
    out = [step for fields in steps for step in _convert_step(fields, around)]
    kinds = [step["type"] for step in out]
    if "ModalMask3D" in kinds[1:]:
        at = kinds.index("ModalMask3D")
        if not any(kind in _MOVING for kind in kinds[:at]):
            out.insert(0, out.pop(at))
            steps[0].ledger.note(
                "ModalMask3D stands first, where upstream has it behind loading and pasting: the same input, and "
                "nothing is read that stays blank."
            )
    return out


def _convert_step(step: Fields, around: Surroundings) -> Steps:
    kind = step.get("type")
    if kind in _STEPS:
        return _STEPS[kind](step, around)
    factory = TRANSFORMS.get(kind) if isinstance(kind, str) else None
    if factory is None:
        step.differ("type", "no such step here; it is left out with its arguments")
        for name in step:
            if name != "type":
                step.drop(name, "argument of the step that is left out")
        return []
    return [{"type": step.keep("type"), **taken(step, inspect.signature(factory).parameters)}]


def _leave_out(step: Fields, around: Surroundings) -> Steps:
    for name in step:
        step.drop(name, "our samples carry what the model needs")
    return []


def _flip_aug(step: Fields, around: Surroundings) -> Steps:
    why = "a frame is predicted once"
    step.drop("type", "its steps stand in the pipeline themselves")
    step.drop("img_scale", "CMT does not read it")
    step.fixed("pts_scale_ratio", 1, [1], why=why)
    for name in ("flip", "pcd_horizontal_flip", "pcd_vertical_flip"):
        step.fixed(name, False, why=why)
    step.drop("flip_direction", "nothing is flipped at test")
    return [one for inner in step.children("transforms") for one in _convert_step(inner, around)]


_STEPS: dict[str, Callable[[Fields, Surroundings], Steps]] = {
    "LoadPointsFromFile": load_points,
    "LoadPointsFromMultiSweeps": load_sweeps,
    "LoadMultiViewImageFromFiles": load_images,
    "LoadAnnotations3D": load_boxes,
    "ObjectSample": paste,
    "UnifiedObjectSample": paste,
    "ModalMask3D": mask,
    "GlobalRotScaleTrans": rotate_all,
    "GlobalRotScaleTransAll": rotate_all,
    "GlobalRotScaleTransImage": rotate_images,
    "RandomFlip3D": flip,
    "CustomRandomFlip3D": flip,
    "ResizeCropFlipImage": resize,
    "NormalizeMultiviewImage": normalise,
    "PadMultiViewImage": pad,
    "MultiScaleFlipAug3D": _flip_aug,
    "DefaultFormatBundle3D": _leave_out,
    "Collect3D": _leave_out,
}
