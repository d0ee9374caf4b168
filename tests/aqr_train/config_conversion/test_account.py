"""No field of the source is lost in silence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from field_configs import OFFICIAL

from aqr_core.config import load_config
from aqr_core.errors import ConfigError
from aqr_core.models import build_detector
from aqr_train.config_conversion import report
from aqr_train.config_conversion.conversion import convert_source
from aqr_train.config_conversion.ledger import Ledger, Outcome, Row, leaves
from aqr_train.config_conversion.ledger import Path as Place
from aqr_train.config_conversion.source import Source, read_source

# Fields whose value does not go anywhere: what is said there is said otherwise, with the reason.
SAID_OTHERWISE = {("checkpoint_config", "interval"), ("evaluation", "interval")}
# Lists and dicts that say nothing here, whatever is in them.
SAYS_NOTHING = ("modality", "loss_heatmap", "dist_params", "Collect3D", "DefaultFormatBundle3D", "hooks")


@pytest.fixture(scope="module", params=OFFICIAL)
def official(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, list[str]]:
    """A source as read, and the parameters of its model."""
    path = tmp_path_factory.mktemp("official") / f"{request.param}.py"
    path.write_text(OFFICIAL[request.param].text())
    with torch.device("meta"):
        model = build_detector(load_config(request.param).model)
    return read_source(path), [name for name, _ in model.named_parameters()]


def row_of(ledger: Ledger, place: Place) -> Row | None:
    """The row at a place or above it."""
    rows = {row.path: row for row in ledger.rows if row.outcome is not Outcome.ADDED}
    return next((rows[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in rows), None)


def test_every_leaf_has_a_row_and_stands_in_the_text(official: tuple[Source, list[str]]) -> None:
    source, parameters = official
    conversion = convert_source(source, parameters)
    shown = "\n".join(report.lines(conversion.ledger))
    for place, _ in leaves(source.config):
        row = row_of(conversion.ledger, place)
        assert row is not None, place
        assert str(row.path[-1]) in shown
    assert all(f"# {line}".rstrip() in conversion.text for line in report.lines(conversion.ledger))
    assert all(row.why for row in conversion.ledger.rows if row.outcome not in (Outcome.KEPT, Outcome.RENAMED))


def dicts(node: Any, place: Place = ()) -> Iterator[Place]:
    """Places of all dicts, the top one too."""
    if isinstance(node, dict):
        yield place
        for key, value in node.items():
            yield from dicts(value, (*place, key))
    elif isinstance(node, list | tuple):
        for index, item in enumerate(node):
            yield from dicts(item, (*place, index))


def at(config: Any, place: Place) -> Any:
    for key in place:
        config = config[key]
    return config


def with_lists(node: Any) -> Any:
    """A copy that can be changed anywhere."""
    if isinstance(node, dict):
        return {key: with_lists(value) for key, value in node.items()}
    return [with_lists(item) for item in node] if isinstance(node, list | tuple) else copy.copy(node)


def changed(source: Source, change: Callable[[dict[str, Any]], None]) -> Source:
    config = with_lists(source.config)
    change(config)
    return Source(source.path, config, source.helpers)


def kinds_above(config: Any, place: Place) -> set[str]:
    nodes = [at(config, place[:depth]) for depth in range(len(place) + 1)]
    return {str(key) for key in place} | {str(node.get("type")) for node in nodes if isinstance(node, dict)}


def test_a_strange_field_anywhere_is_named(official: tuple[Source, list[str]]) -> None:
    """It is a difference, or it stands in the config, where our constructors refuse it."""
    source, parameters = official
    for place in dicts(source.config):
        if place and (place[0] in source.helpers or kinds_above(source.config, place) & set(SAYS_NOTHING)):
            continue
        if place[-1:] == ("custom_keys",):  # its keys are parts of parameters' names
            continue
        strange = (*place, "strange")
        conversion = convert_source(
            changed(source, lambda config, place=place: at(config, place).update(strange="marker")), parameters
        )
        row = row_of(conversion.ledger, strange)
        assert row is not None
        assert row.outcome is Outcome.DIFFERENCE or "marker" in repr(conversion.config), (place, row)


def other(value: Any) -> Any:
    """A value that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list) and value:
        return [other(value[0]), *value[1:]]
    return "changed" if isinstance(value, str) or value is None else [*value, 1] if isinstance(value, list) else None


def test_a_value_that_is_said_to_be_used_is_used(official: tuple[Source, list[str]]) -> None:
    """Change any value: the config changes, or the change is named, or the field is one that says nothing."""
    source, parameters = official
    before = convert_source(source, parameters)
    checked = 0
    for place, value in leaves(with_lists(source.config)):
        row = row_of(before.ledger, place)
        assert row is not None
        if row.outcome is Outcome.DROPPED or place in SAID_OTHERWISE or isinstance(value, range):
            continue

        def change(config: dict[str, Any], place: Place = place, value: Any = value) -> None:
            at(config, place[:-1])[place[-1]] = other(value)

        try:
            after = convert_source(changed(source, change), parameters)
        except (ConfigError, TypeError, ValueError, IndexError):
            continue  # refused, by us or by what the value is for
        differs = after.config != before.config or not after.is_equivalent
        assert differs, f"{place}: {value} -> {other(value)}"
        checked += 1
    assert checked > 60


def test_what_is_fixed_is_a_difference_when_it_is_something_else(official: tuple[Source, list[str]]) -> None:
    """A dropped value either says nothing at all, or is the only one that we have."""
    source, parameters = official
    before = convert_source(source, parameters)
    silent = []
    for row in before.ledger.of(Outcome.DROPPED):
        if row.path[0] in source.helpers or kinds_above(source.config, row.path) & set(SAYS_NOTHING):
            continue
        value = with_lists(at(source.config, row.path))

        def change(config: dict[str, Any], row: Row = row, value: Any = value) -> None:
            at(config, row.path[:-1])[row.path[-1]] = other(value)

        try:
            after = convert_source(changed(source, change), parameters)
        except ConfigError:
            continue
        if after.is_equivalent and after.config == before.config:
            silent.append(".".join(str(part) for part in row.path if not isinstance(part, int)))
    assert set(silent) - SILENT == set()


SILENT = {
    *(f"model.train_cfg.pts.{name}" for name in ("dataset", "pos_weight", "gaussian_overlap", "min_radius")),
    *(f"model.train_cfg.pts.{name}" for name in ("voxel_size", "out_size_factor", "point_cloud_range")),
    *(f"model.test_cfg.pts.{name}" for name in ("dataset", "out_size_factor", "pc_range", "voxel_size")),
    *(f"model.test_cfg.pts.{name}" for name in ("nms_type", "nms_thr", "use_rotate_nms", "max_num")),
    "data.train.dataset.pipeline.data_aug_conf.H",
    "data.train.dataset.pipeline.data_aug_conf.W",
    "data.val.pipeline.transforms.data_aug_conf.H",
    "data.val.pipeline.transforms.data_aug_conf.W",
    "data.train.dataset.pipeline.sync_2d",  # of CustomRandomFlip3D, which ignores it
    "data.train.dataset.pipeline.db_sampler.data_root",
    "data.val.pipeline.img_scale",
    "optimizer_config.loss_scale",
    *("plugin", "plugin_dir", "gpu_ids", "log_level", "work_dir"),
}


def test_the_report_goes_to_the_screen_and_into_the_file(
    write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from aqr_train.cli import main

    path = write(OFFICIAL["cmt_lidar_voxel0075_cbgs"])
    out = path.with_name("out.py")
    assert main(["convert-config", str(path), "--out", str(out)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == f"{out} written."
    assert all(f"# {line}".rstrip() in out.read_text() for line in shown[:-1])
