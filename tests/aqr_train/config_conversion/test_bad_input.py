"""What is no config of CMT, or cannot be written, is told in one sentence, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from field_configs import FieldConfig

from aqr_train.cli import main

NEW_STYLE = """
train_dataloader = dict(batch_size=2)
optim_wrapper = dict(type='OptimWrapper')
train_cfg = dict(by_epoch=True, max_epochs=20)
model = dict(type='CmtDetector')
"""


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refuse(source)` -> the one sentence with which the command ends."""

    def run(source: Path, out: Path = tmp_path / "new" / "out.py", *, existed: bool = False) -> str:
        assert main(["convert-config", str(source), "--out", str(out)]) == 2
        assert out.exists() == existed
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and "Traceback" not in said
        return said

    return run


def test_a_source_that_is_no_file(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "is no Python file" in refuse(tmp_path / "absent.py")
    assert "is no Python file" in refuse(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model = dict(", "line 1 is no Python"),
        ("data = dict()", "has no 'model'"),
        ("model = dict(type='CmtDetector')\nx = absent", "NameError"),
        ("from mmdet3d_plugin_that_is_absent import x\nmodel = dict()", "ModuleNotFoundError"),
        ("_base_ = ['../../_base_/runtime.py']", "builds on '../../_base_/runtime.py', which is not there"),
        ("_base_ = [name for name in ()]\nmodel = dict()", "_base_ is computed"),
        (NEW_STYLE, "is a config of mmdet3d 1.x (train_dataloader, optim_wrapper, train_cfg)"),
        ("from mmengine.config import read_base\nwith read_base():\n    from .x import *", "mmdet3d 1.x (read_base())"),
        ("model = dict(type='CenterPoint')", "another detector (model.type 'CenterPoint')"),
        ("model = dict(type='BEVFusion')", "another detector (model.type 'BEVFusion')"),
        ("model = dict()", "another detector (model.type None)"),
        ("model = dict(type='MoME')", "mome_voxel0075_vov_1600x640_cbgs"),
        ("model = dict(type='CmtDetector', pts_bbox_head=dict(type='CenterHead'))", "of type 'CenterHead'"),
        ("model = 3", "'model' of the source is 3, where a dict belongs"),
    ],
)  # fmt: skip
def test_a_source_that_is_no_config_of_cmt(
    refuse: Callable[..., str], write: Callable[..., Path], text: str, said: str
) -> None:
    assert said in refuse(write(text))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("type='ResNet', ", "type='SwinTransformer', "), "'mmdet.SwinTransformer'"),
        (("dataset_type = 'CustomNuScenesDataset'", "dataset_type = 'KittiDataset'"), "only nuScenes is converted"),
        ((" block_type='basicblock'", " block_type='conv_module'"), "block_type 'conv_module' is not supported"),
        (("frozen_stages=-1", "frozen_stages=9"), "frozen_stages is 9"),
        (("tasks=[dict(num_class=10, class_names=class_names)]", "tasks=3"), "where a list of dicts belongs"),
        (("val=dict(ann_file=data_root + '/nuscenes_infos_val.pkl', ", "val=dict("), "has no ann_file"),
        (("samples_per_gpu=4", "samples_per_gpu=0"), "data.batch_size is 0"),
        (("step_ratio_up=0.4)\nmomentum", "step_ratio_up=1.4)\nmomentum"), "step_ratio_up is 1.4"),
    ],
)  # fmt: skip
def test_what_our_parts_refuse(
    refuse: Callable[..., str], write: Callable[..., Path], edit: tuple[str, str], said: str
) -> None:
    assert said in refuse(write(FieldConfig(edits=(edit,))))


def test_a_name_assigned_twice(refuse: Callable[..., str], write: Callable[..., Path]) -> None:
    said = refuse(write(FieldConfig(more="model = dict(img_backbone=dict(frozen_stages=4))\n")))
    assert "assigns 'model' in line" in said and "forgets the first" in said


def test_a_name_that_is_extended_is_not_assigned_twice(write: Callable[..., Path]) -> None:
    path = write(FieldConfig(more="class_names = class_names + []\n"))
    assert main(["convert-config", str(path), "--out", str(path.with_name("out.py"))]) == 0


def test_a_plugin_is_not_imported(write: Callable[..., Path], tmp_path: Path) -> None:
    plugin = tmp_path / "projects" / "mmdet3d_plugin"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text("raise SystemExit('imported')")
    path = write(FieldConfig(more="custom_imports = dict(imports=['projects.mmdet3d_plugin'])\n"))
    assert main(["convert-config", str(path), "--out", str(tmp_path / "out.py")]) == 0


def test_places_that_cannot_be_written(refuse: Callable[..., str], write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(FieldConfig())
    old = tmp_path / "old.py"
    old.write_text("x = 1\n")
    assert "exists; name a new file" in refuse(path, old, existed=True)
    assert old.read_text() == "x = 1\n"
    assert "name a .py file" in refuse(path, tmp_path / "out.yaml")
