"""The four official configs become what the shipped configs of their names say, but for what is listed here."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from field_configs import OFFICIAL
from torch import nn

from aqr_core.config import load_config
from aqr_core.data.pipeline import Pipeline
from aqr_core.models import build_detector
from aqr_core.registry import MODELS, TRANSFORMS
from aqr_train.cli import main
from aqr_train.param_groups import build_grouping

# Where the shipped config of that name says something else, on purpose.
LISTED = {
    "data.num_workers",  # 6 there
    "data.train.infos",  # theirs are pickles
    "data.val.infos",
    "load_from",  # a file of theirs; ours is given on the command line
    "model.float32",  # their float32 parts
    "train.precision",  # they train in fp16
    "seed",
    *(f"train.{name}" for name in ("max_steps", "max_skipped", "gradient_checkpointing", "ema", "keep", "best")),
    *(f"train.{name}" for name in ("trackers", "find_unused_parameters", "accumulate", "picture_every")),  # left out
}
OF_PASTING = {"until_epoch", "db_sampler.database"}
# Fields that say what our part does anyway: the built model is the same, see below.
SPELT_OUT = {
    *("norm_cfg", "conv_cfg", "upsample_cfg", "num_point_features", "pc_range", "feedforward_channels"),
    *("sparse_shape", "grid_size"),
}


@pytest.fixture(scope="module", params=OFFICIAL)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The converted file, and the name of the shipped config."""
    folder = tmp_path_factory.mktemp(request.param)
    source, out = folder / f"{request.param}.py", folder / "out.py"
    source.write_text(OFFICIAL[request.param].text())
    assert main(["convert-config", str(source), "--out", str(out)]) == 0
    return out, request.param


@pytest.fixture
def pair(files: tuple[Path, str]) -> tuple[Any, Any]:
    """The converted config, loaded from its file, and the shipped one."""
    return load_config(files[0]), load_config(files[1])


def complete(node: Any) -> Any:
    """Dicts with a type get the defaults of its constructor."""
    if isinstance(node, list | tuple):
        return [complete(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    own = {key: complete(value) for key, value in node.items()}
    for registry in (MODELS, TRANSFORMS):
        factory = registry.get(node["type"]) if isinstance(node.get("type"), str) else None
        if factory is not None:
            parameters = inspect.signature(factory).parameters.items()
            empty = inspect.Parameter.empty
            own = {**{name: complete(each.default) for name, each in parameters if each.default is not empty}, **own}
    return own


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}".lstrip("."))
    elif isinstance(node, list) and any(isinstance(item, Mapping) for item in node):
        for index, item in enumerate(node):
            yield from leaves(item, f"{path}.{index}")
    else:
        yield path, node


def test_the_resolved_config_is_the_shipped_one_but_for_what_is_listed(pair: tuple[Any, Any]) -> None:
    converted, shipped = (dict(leaves(complete(config.to_dict()))) for config in pair)
    differing = {path for path in {*converted, *shipped} if converted.get(path) != shipped.get(path)}
    pasting = {path for path in differing if any(path.endswith(name) for name in OF_PASTING)}
    spelt_out = {path for path in differing if path.startswith("model.") and set(path.split(".")) & SPELT_OUT}
    if shipped["model.pts_bbox_head.type"] == "CmtImageHead":  # has no BEV cells that it could say
        spelt_out.add("model.pts_bbox_head.bbox_coder.voxel_size")
    expected = {path for path in LISTED if converted.get(path) != shipped.get(path)}
    assert differing - pasting - spelt_out == expected
    assert len(pasting) == (0 if shipped["model.pts_bbox_head.type"] == "CmtImageHead" else 2)


def state(value: Any) -> Any:
    """What an object holds, comparable; modules and tensors are compared elsewhere."""
    if isinstance(value, nn.Module | torch.Tensor):
        return None
    if isinstance(value, Mapping):
        return {key: state(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [state(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return {key: state(item) for key, item in vars(value).items()} if hasattr(value, "__dict__") else value


def settings_of(module: nn.Module) -> dict[str, Any]:
    return {key: state(item) for key, item in vars(module).items() if not key.startswith("_")}


def test_it_builds_the_same_model(pair: tuple[Any, Any]) -> None:
    converted, shipped = pair
    shipped.model["float32"] = converted.model.get("float32")
    # Of the camera model, which has no voxels to measure.
    shipped.model.pts_bbox_head.bbox_coder.setdefault("voxel_size", converted.model.pts_bbox_head.bbox_coder.voxel_size)
    with torch.device("meta"):
        models = [build_detector(config.model) for config in (converted, shipped)]
    assert repr(models[0]) == repr(models[1])  # every layer with its numbers
    assert models[0].geometry == models[1].geometry
    shapes = [{key: tuple(value.shape) for key, value in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]
    for (name, module), (_, other) in zip(models[0].named_modules(), models[1].named_modules(), strict=True):
        ours, theirs = settings_of(module), settings_of(other)
        for key in {*ours, *theirs} - {"bev_cells"}:  # their grid may be said or derived: the same geometry, see above
            assert ours.get(key) == theirs.get(key), f"{name}.{key}"


def test_it_builds_the_same_steps(pair: tuple[Any, Any]) -> None:
    for split in ("train", "val"):
        ours, theirs = ([dict(step) for step in config.data[split].pipeline] for config in pair)
        for step in theirs:
            step.pop("until_epoch", None)
        built = [[(type(step), state(step)) for step in Pipeline(steps)] for steps in (ours, theirs)]
        for (kind, settings), (other, others) in zip(*built, strict=True):
            if "recipe" in settings:
                settings["recipe"]["database"] = others["recipe"]["database"]
            assert (kind, settings) == (other, others)


def test_it_trains_every_parameter_alike(pair: tuple[Any, Any]) -> None:
    groups = []
    for config in pair:
        with torch.device("meta"):
            model = build_detector(config.model)
        optimizer = config.optimizer
        grouping = build_grouping(model, optimizer.lr, optimizer.weight_decay, optimizer.param_groups)
        groups.append({name: (g.lr, g.weight_decay, g.frozen) for g in grouping.groups for name in g.names})
    assert groups[0] == groups[1]


def test_the_note_says_when_pasting_should_end(files: tuple[Path, str]) -> None:
    pastes = "camera" not in files[1]
    assert ("put until_epoch=15 into the pasting step" in files[0].read_text()) == pastes
