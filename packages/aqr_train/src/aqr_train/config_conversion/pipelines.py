"""Steps of `train_pipeline` and `test_pipeline`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aqr_core.data  # noqa: F401 - registers the transforms
from aqr_core.registry import TRANSFORMS
from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.ledger import Outcome
from aqr_train.config_conversion.paths import relative_to

PASTING = ("ObjectSample", "UnifiedObjectSample")
_MOVING = ("GlobalRotScaleTransAll", "GlobalRotScaleTransImage", "CustomRandomFlip3D", "ResizeCropFlipImage")
_DISK = ({"backend": "disk"}, {"backend": "local"}, None)
_FIVE = [0, 1, 2, 3, 4]
_SAMPLE = "our samples carry what the model needs"
_POINTS = "points are the five float32 of nuScenes"


@dataclass(frozen=True)
class Surroundings:
    """What the steps depend on beside themselves.

    Attributes:
        training: whether it is the training pipeline.
        data_root: of the dataset.
        classes: of the dataset.
        use_valid_flag: of the dataset.
        paste_until: epoch from which nothing is pasted, None where a hook does not say.
    """

    training: bool
    data_root: str
    classes: list[str]
    use_valid_flag: bool = False
    paste_until: int | None = None


def convert_pipeline(steps: list[Fields], around: Surroundings) -> list[dict[str, Any]]:
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


def _convert_step(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
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
    return [{"type": step.keep("type"), **_taken(step, inspect.signature(factory).parameters)}]


def _taken(step: Fields, names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: step.keep(name) for name in step if name in names and name != "type"}


def _nothing(why: str) -> Callable[[Fields, Surroundings], list[dict[str, Any]]]:
    def convert(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
        for name in step:
            step.drop(name, why)
        return []

    return convert


def _load_points(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    step.fixed("coord_type", "LIDAR", why=_POINTS)
    step.fixed("load_dim", 5, why=_POINTS)
    step.fixed("use_dim", _FIVE, 5, why=_POINTS)
    step.fixed("shift_height", False, why=_POINTS)
    step.fixed("use_color", False, why=_POINTS)
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type")}]


def _load_sweeps(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    step.fixed("load_dim", 5, why=_POINTS)
    step.fixed("use_dim", _FIVE, why=_POINTS)
    step.fixed("time_dim", 4, why=_POINTS)
    step.fixed("pad_empty_sweeps", False, why="a keyframe without sweeps stays without")
    step.fixed("remove_close", False, why="points near the sensor stay")
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type"), **_taken(step, {"sweeps_num": 0, "test_mode": 0})}]


def _load_images(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    step.fixed("to_float32", False, why="images are uint8 until they are normalised")
    step.fixed("color_type", "unchanged", "color", why="images are BGR")
    step.fixed("file_client_args", *_DISK, why="files lie on a disk")
    return [{"type": step.keep("type")}]


def _load_boxes(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    step.fixed("with_bbox_3d", True, why="boxes and labels are always loaded")
    step.fixed("with_label_3d", True, why="boxes and labels are always loaded")
    for name in ("with_attr_label", "with_mask_3d", "with_seg_3d", "with_bbox", "with_label", "with_mask", "with_seg"):
        step.fixed(name, False, why="the detector reads boxes and labels alone")
    step.fixed("with_bbox_depth", False, why="the detector reads boxes and labels alone")
    keep = {"keep": "valid"} if around.use_valid_flag else {}
    return [{"type": step.keep("type"), **keep, **_known_velocity(step)}]


def _known_velocity(step: Fields) -> dict[str, Any]:
    why = "upstream's dataset takes an unknown velocity as 0"
    return {"zero_unknown_velocity": step.add("zero_unknown_velocity", True, why)}


def _paste(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    kind = step.keep("type")
    out: dict[str, Any] = {"type": kind, "db_sampler": _sampling(step.child("db_sampler"), around)}
    if kind == "UnifiedObjectSample":
        step.fixed("sample_method", "depth", why="far objects are pasted first")
        step.fixed("modify_points", False, why="points behind a pasted object stay")
        rate = step.get("mixup_rate", -1)
        out["sample_2d"] = step.keep("sample_2d") if "sample_2d" in step else step.add("sample_2d", False, "default")
        if rate < 0:
            out["mixup_rate"] = 1.0
            step.derive("mixup_rate", "mixup_rate = 1.0", "the crop covers what was there")
        else:
            out["mixup_rate"] = step.keep("mixup_rate")
    else:
        step.fixed("sample_2d", False, why="ObjectSample pastes points alone")
        step.fixed("use_ground_plane", False, why="objects stay at their height")
    out |= _known_velocity(step)
    if around.paste_until is not None:
        out["until_epoch"] = around.paste_until
    else:
        step.ledger.note(
            "Objects are pasted to the last epoch, as the source says. CMT's published scores come from 15 epochs with "
            "and 5 without, switched by hand: put until_epoch=15 into the pasting step."
        )
    return [out]


def _sampling(sampler: Fields, around: Surroundings) -> dict[str, Any]:
    out: dict[str, Any] = {}
    sampler.fixed("type", "UnifiedDataBaseSampler", "DataBaseSampler", why="there is one sampler")
    sampler.drop("data_root", "paths in the database are below dataroot")
    if "info_path" in sampler:
        place = relative_to(sampler.get("info_path"), around.data_root)
        out["database"] = sampler.derive("info_path", "db_sampler.database", "below dataroot") and place
    if "rate" in sampler:
        out["rate"] = sampler.keep("rate")
    if "sample_groups" in sampler:
        out["sample_groups"] = sampler.keep("sample_groups")
    prepare = sampler.child("prepare")
    for name in ("filter_by_min_points", "filter_by_difficulty"):
        if name in prepare:
            out[name] = prepare.rename(name, f"db_sampler.{name}")
        else:
            out[name] = prepare.add(name, {} if name == "filter_by_min_points" else [], "filters nothing unless told")
    sampler.fixed("classes", around.classes, why="the dataset's")
    loader = sampler.child("points_loader")
    if loader.node:
        _load_points(loader, around)
    return out


def _rotate_all(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    neutral = {"rot_range": (0, [0, 0]), "scale_ratio_range": ([1, 1],), "translation_std": (0, [0, 0, 0])}
    if not around.training:
        step.drop("type", "nothing is moved at test")
        for name, values in neutral.items():
            step.fixed(name, *values, why="nothing is moved at test")
        step.drop("shift_height", "nothing is moved at test")
        return []
    silent = {"rot_range": [-0.78539816, 0.78539816], "scale_ratio_range": [0.95, 1.05], "translation_std": [0, 0, 0]}
    out: dict[str, Any] = {"type": _type(step, "GlobalRotScaleTransAll")}
    for name, default in silent.items():
        out[name] = _spread(name, step.keep(name)) if name in step else step.add(name, default, "upstream's default")
    step.fixed("shift_height", False, why="points have no height of their own")
    return [out]


def _spread(name: str, value: Any) -> Any:  # noqa: ANN401
    """One number stands for a symmetric range or for three axes, as upstream."""
    if not isinstance(value, int | float):
        return value
    return [-value, value] if name == "rot_range" else [value] * 3


def _rotate_images(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    out: dict[str, Any] = {"type": step.keep("type")}
    for name, default in (("rot_range", [-0.3925, 0.3925]), ("scale_ratio_range", [0.95, 1.05])):
        out[name] = step.keep(name) if name in step else step.add(name, default, "upstream's default")
    step.fixed("translation_std", [0, 0, 0], why="cameras do not move")
    step.fixed("reverse_angle", True, why="boxes and cameras turn together, what upstream means by it (docs/cmt.md)")
    step.fixed("training", True, why="the step is in the training pipeline")
    step.fixed("flip_dx_ratio", 0, why="nothing is flipped")
    step.fixed("flip_dy_ratio", 0, why="nothing is flipped")
    return [out]


def _flip(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    ratios = ("flip_ratio_bev_horizontal", "flip_ratio_bev_vertical")
    if not around.training:
        step.drop("type", "nothing is flipped at test")
        step.drop("sync_2d", "nothing is flipped at test")
        for name in ratios:
            step.fixed(name, 0, None, why="nothing is flipped at test")
        return []
    out: dict[str, Any] = {"type": _type(step, "CustomRandomFlip3D")}
    for name in ratios:
        out[name] = step.keep(name) if name in step else step.add(name, 0.0, "upstream's default")
    if step.get("type") == "RandomFlip3D":
        step.fixed("sync_2d", False, why="images are flipped on their own")
    else:
        step.drop("sync_2d", "upstream ignores it: images are flipped on their own")
    return [out]


def _type(step: Fields, ours: str) -> str:
    if step.get("type") == ours:
        step.keep("type")
    else:
        step.rename("type", ours)
    return ours


def _resize(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    settings = step.child("data_aug_conf")
    image = {name: settings.keep(name) for name in ("final_dim", "resize_lim", "rand_flip") if name in settings}
    settings.fixed("bot_pct_lim", [0, 0], why="the crop lies at the bottom")
    settings.fixed("rot_lim", [0, 0], why="images are not rotated")
    for name in ("H", "W"):
        settings.drop(name, "the size of the image is read from it")
    step.fixed("pic_wise", False, why="the six images are cropped alike")
    return [{"type": step.keep("type"), "data_aug_conf": image, "training": step.keep("training", True)}]


def _normalise(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    if "to_rgb" in step:
        step.fixed("to_rgb", False, why="images stay BGR")
    else:
        why = "upstream's default; images stay BGR, and nothing else"
        step.ledger.record((*step.path, "to_rgb"), Outcome.DIFFERENCE, True, why=why)
    return [{"type": step.keep("type"), **_taken(step, {"mean": (), "std": ()})}]


def _pad(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    step.fixed("size", None, why="images are padded to a multiple")
    step.fixed("pad_val", 0, why="with zeros")
    return [{"type": step.keep("type"), **_taken(step, {"size_divisor": 0})}]


def _mask(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    mode = step.keep("mode", "test")
    out: dict[str, Any] = {"type": step.keep("type"), "mode": mode}
    if mode == "train":
        step.drop("mask_modal", "training draws what to blank")
    else:
        out["mask_modal"] = step.keep("mask_modal", "image")
    return [out]


def _flip_aug(step: Fields, around: Surroundings) -> list[dict[str, Any]]:
    why = "a frame is predicted once"
    step.drop("type", "its steps stand in the pipeline themselves")
    step.drop("img_scale", "CMT does not read it")
    step.fixed("pts_scale_ratio", 1, [1], why=why)
    for name in ("flip", "pcd_horizontal_flip", "pcd_vertical_flip"):
        step.fixed(name, False, why=why)
    step.drop("flip_direction", "nothing is flipped at test")
    return [one for inner in step.children("transforms") for one in _convert_step(inner, around)]


_STEPS: dict[str, Callable[[Fields, Surroundings], list[dict[str, Any]]]] = {
    "LoadPointsFromFile": _load_points,
    "LoadPointsFromMultiSweeps": _load_sweeps,
    "LoadMultiViewImageFromFiles": _load_images,
    "LoadAnnotations3D": _load_boxes,
    "ObjectSample": _paste,
    "UnifiedObjectSample": _paste,
    "ModalMask3D": _mask,
    "GlobalRotScaleTrans": _rotate_all,
    "GlobalRotScaleTransAll": _rotate_all,
    "GlobalRotScaleTransImage": _rotate_images,
    "RandomFlip3D": _flip,
    "CustomRandomFlip3D": _flip,
    "ResizeCropFlipImage": _resize,
    "NormalizeMultiviewImage": _normalise,
    "PadMultiViewImage": _pad,
    "MultiScaleFlipAug3D": _flip_aug,
    "DefaultFormatBundle3D": _nothing(_SAMPLE),
    "Collect3D": _nothing(_SAMPLE),
}
