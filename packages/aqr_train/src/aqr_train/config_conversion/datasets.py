"""`data`: datasets, their wrappers, and how batches are drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aqr_core.errors import ConfigError
from aqr_eval.nuscenes.classes import DETECTION_CLASSES
from aqr_train.config_conversion.fields import Fields, dotted, same
from aqr_train.config_conversion.ledger import Outcome, leaves
from aqr_train.config_conversion.paths import relative_to
from aqr_train.config_conversion.pipelines import convert_pipeline
from aqr_train.config_conversion.surroundings import Surroundings

DATASETS = ("CustomNuScenesDataset", "NuScenesDataset")
_LOADER = "our loader keeps its workers, and copies from pinned memory"


def convert_data(data: Fields, paste_until: int | None) -> dict[str, Any]:
    """`dataroot` and `data`.

    Args:
        data: the section of the source.
        paste_until: epoch from which no objects are pasted, None where the source does not say.

    Raises:
        ConfigError: another dataset than nuScenes.
    """
    loader: dict[str, Any] = {}
    if "samples_per_gpu" in data:
        loader["batch_size"] = data.rename("samples_per_gpu", "data.batch_size")
    if "workers_per_gpu" in data:
        loader["num_workers"] = data.rename("workers_per_gpu", "data.num_workers")
    for name in ("persistent_workers", "pin_memory", "shuffle"):
        data.drop(name, _LOADER)
    sets: dict[str, dict[str, Any]] = {}
    if "train" in data:
        sets["train"] = _convert_wrapped(data.child("train"), paste_until)
    if "val" in data:
        sets["val"] = _convert_dataset(data.child("val"), training=False, paste_until=None)
    if "test" in data:
        _account_for_test(data)
        if "val" not in data:
            raise ConfigError("data of the source has 'test' and no 'val', which we score; rename it.")
    roots = [dataset["dataroot"] for dataset in sets.values()]
    out: dict[str, Any] = {}
    if roots:
        out["dataroot"] = roots[0]
        for dataset in sets.values():
            if dataset["dataroot"] == roots[0]:
                del dataset["dataroot"]
    return {**out, "data": {**loader, **sets}}


def _convert_wrapped(dataset: Fields, paste_until: int | None) -> dict[str, Any]:
    kind = dataset.get("type")
    if kind == "CBGSDataset":
        dataset.derive("type", "data.train.class_balanced = True", "the wrapper is a switch of our dataset")
        out = _convert_wrapped(dataset.child("dataset"), paste_until)
        return {"type": out.pop("type"), "infos": out.pop("infos"), "class_balanced": True, **out}
    if kind == "RepeatDataset":
        dataset.drop("type", "the wrapped dataset stands alone")
        dataset.fixed("times", 1, why="an epoch sees every sample once; multiply train.epochs")
        return _convert_wrapped(dataset.child("dataset"), paste_until)
    return _convert_dataset(dataset, training=True, paste_until=paste_until)


def _convert_dataset(dataset: Fields, *, training: bool, paste_until: int | None) -> dict[str, Any]:
    kind = dataset.get("type")
    if kind not in DATASETS:
        raise ConfigError(
            f"'{dotted(dataset.path)}' of the source is a {kind}, and only nuScenes is converted; write one of "
            f"{', '.join(DATASETS)}."
        )
    root = str(dataset.get("data_root") or "data/nuscenes")
    dataset.derive("data_root", "dataroot", "one root for all datasets that name none")
    out: dict[str, Any] = {"type": "NuScenesDataset", "dataroot": os.path.normpath(root)}
    if kind == "NuScenesDataset":
        dataset.keep("type")
    else:
        dataset.rename("type", "NuScenesDataset")
    if "ann_file" in dataset:
        dataset.derive("ann_file", "infos", "below dataroot; mmdet3d's pickles are read as they are")
        out["infos"] = relative_to(dataset.get("ann_file"), root)
    else:
        raise ConfigError(f"'{dotted(dataset.path)}' of the source has no ann_file; add it.")
    classes = list(dataset.get("classes") or DETECTION_CLASSES)
    if same(classes, DETECTION_CLASSES):
        dataset.drop("classes", "the ten of nuScenes, in their order")
    else:
        out["classes"] = dataset.keep("classes")
    _account_for_switches(dataset, training)
    around = Surroundings(training, root, classes, bool(dataset.get("use_valid_flag", False)), paste_until)
    dataset.derive("use_valid_flag", "LoadAnnotations3D.keep", "'valid' where it is True, else boxes with LiDAR points")
    out["pipeline"] = convert_pipeline(dataset.children("pipeline"), around)
    return out


def _account_for_switches(dataset: Fields, training: bool) -> None:
    dataset.fixed("load_interval", 1, why="every keyframe is used")
    dataset.drop("modality", "loading steps and the branches of the model decide")
    dataset.fixed("test_mode", not training, why="set by what the dataset is used for")
    dataset.fixed("box_type_3d", "LiDAR", why="boxes are in the LiDAR frame")
    dataset.fixed("filter_empty_gt", True, why="training leaves keyframes without boxes out")
    dataset.fixed("with_velocity", True, why="boxes have velocities")
    dataset.drop("samples_per_gpu", "data.batch_size holds for validation too")
    for name in ("version", "eval_version"):
        dataset.drop(name, "the infos say so, and scores are those of detection_cvpr_2019")


def _account_for_test(data: Fields) -> None:
    """`aqr test` reads `data.val`: what says the same there is dropped, the rest named."""
    path = (*data.path, "test")
    test, val = data.get("test"), data.get("val")
    if same(test, val):
        data.drop("test", "the same as data.val, which `aqr test` reads")
        return
    ours = dict(leaves(val)) if isinstance(val, Mapping) else {}
    for place, value in leaves(test):
        if place in ours and same(ours[place], value):
            data.ledger.record((*path, *place), Outcome.DROPPED, value, why="the same as in data.val")
        else:
            why = "`aqr test` reads data.val, which says something else; put it there"
            data.ledger.record((*path, *place), Outcome.DIFFERENCE, value, why=why)
