"""Steps that change the scene: pasted objects, failing sensors, rotation, scale, mirror."""

from __future__ import annotations

from typing import Any

from aqr_train.config_conversion.fields import Fields
from aqr_train.config_conversion.loading_steps import load_points
from aqr_train.config_conversion.paths import relative_to
from aqr_train.config_conversion.surroundings import Steps, Surroundings, known_velocity, ours


def paste(step: Fields, around: Surroundings) -> Steps:
    """Objects of a database join the scene."""
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
    out |= known_velocity(step)
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
        load_points(loader, around)
    return out


def rotate_all(step: Fields, around: Surroundings) -> Steps:
    """Points, boxes and cameras turn, grow and shift together."""
    neutral = {"rot_range": (0, [0, 0]), "scale_ratio_range": ([1, 1],), "translation_std": (0, [0, 0, 0])}
    if not around.training:
        step.drop("type", "nothing is moved at test")
        for name, values in neutral.items():
            step.fixed(name, *values, why="nothing is moved at test")
        step.drop("shift_height", "nothing is moved at test")
        return []
    silent = {"rot_range": [-0.78539816, 0.78539816], "scale_ratio_range": [0.95, 1.05], "translation_std": [0, 0, 0]}
    out: dict[str, Any] = {"type": ours(step, "GlobalRotScaleTransAll")}
    for name, default in silent.items():
        out[name] = _spread(name, step.keep(name)) if name in step else step.add(name, default, "upstream's default")
    step.fixed("shift_height", False, why="points have no height of their own")
    return [out]


def _spread(name: str, value: Any) -> Any:  # noqa: ANN401
    """One number stands for a symmetric range or for three axes, as upstream."""
    if not isinstance(value, int | float):
        return value
    return [-value, value] if name == "rot_range" else [value] * 3


def rotate_images(step: Fields, around: Surroundings) -> Steps:
    """Boxes and cameras turn and grow together."""
    out: dict[str, Any] = {"type": step.keep("type")}
    for name, default in (("rot_range", [-0.3925, 0.3925]), ("scale_ratio_range", [0.95, 1.05])):
        out[name] = step.keep(name) if name in step else step.add(name, default, "upstream's default")
    step.fixed("translation_std", [0, 0, 0], why="cameras do not move")
    step.fixed("reverse_angle", True, why="boxes and cameras turn together, what upstream means by it (docs/cmt.md)")
    step.fixed("training", True, why="the step is in the training pipeline")
    step.fixed("flip_dx_ratio", 0, why="nothing is flipped")
    step.fixed("flip_dy_ratio", 0, why="nothing is flipped")
    return [out]


def flip(step: Fields, around: Surroundings) -> Steps:
    """Points and boxes are mirrored."""
    ratios = ("flip_ratio_bev_horizontal", "flip_ratio_bev_vertical")
    if not around.training:
        step.drop("type", "nothing is flipped at test")
        step.drop("sync_2d", "nothing is flipped at test")
        for name in ratios:
            step.fixed(name, 0, None, why="nothing is flipped at test")
        return []
    out: dict[str, Any] = {"type": ours(step, "CustomRandomFlip3D")}
    for name in ratios:
        out[name] = step.keep(name) if name in step else step.add(name, 0.0, "upstream's default")
    if step.get("type") == "RandomFlip3D":
        step.fixed("sync_2d", False, why="images are flipped on their own")
    else:
        step.drop("sync_2d", "upstream ignores it: images are flipped on their own")
    return [out]


def mask(step: Fields, around: Surroundings) -> Steps:
    """A sensor is blanked."""
    mode = step.keep("mode") if "mode" in step else step.add("mode", "test", "upstream's default")
    out: dict[str, Any] = {"type": step.keep("type"), "mode": mode}
    if mode == "train":
        step.drop("mask_modal", "training draws what to blank")
    else:
        silent = "mask_modal" not in step
        out["mask_modal"] = step.add("mask_modal", "image", "default") if silent else step.keep("mask_modal")
    return [out]
