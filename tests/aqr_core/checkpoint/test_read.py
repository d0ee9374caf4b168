"""Files of every kind, sound and unsound; what they say of the geometry."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from aqr_core.checkpoint import read_torch_file, read_weights, read_weights_file, save_checkpoint
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

META = {"step": 3, "epoch": 1, "classes": ["car"]}
GEOMETRY = BevGeometry((-8, -8, -5, 8, 8, 3), (0.25, 0.25, 0.2), (41, 64, 64), (2.0, 2.0))
# As mmcv writes it: resolved, the model among other assignments, some values no literals of ours.
CONFIG_TEXT = """
point_cloud_range = [-8.0, -8.0, -5.0, 8.0, 8.0, 3.0]
model = dict(
    type='CmtDetector',
    img_norm_cfg=some_name,
    pts_voxel_layer=dict(voxel_size=[0.25, 0.25, 0.2], point_cloud_range=[-8, -8, -5.0, 8, 8, 3.0]),
    pts_middle_encoder=dict(type='SparseEncoder', sparse_shape=[41, 64, 64]),
    pts_bbox_head=dict(
        type='CmtHead',
        bbox_coder=dict(type='MultiTaskBBoxCoder', pc_range=[-8, -8, -5.0, 8, 8, 3.0], voxel_size=[0.25, 0.25])),
    train_cfg=dict(pts=dict(grid_size=[64, 64, 40])))
"""


def net() -> nn.Module:
    return nn.Linear(2, 2)


class Evil:
    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self):
        return os.mkdir, (str(self.trap),)


def test_an_mmcv_file_with_its_meta_and_optimiser(tmp_path: Path) -> None:
    state = net().state_dict()
    meta = {
        "mmcv_version": "1.6.0",
        "epoch": 20,
        "CLASSES": ("car", "truck"),
        "config": CONFIG_TEXT,
        "hook_msgs": {"best_score": np.float64(0.5), "best_epoch": np.int64(3), "rate": np.float32(0.1)},
    }
    optimizer = {"state": {0: {"step": 5, "exp_avg": torch.zeros(2, 2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"meta": meta, "state_dict": state, "optimizer": optimizer}, tmp_path / "epoch_20.pth")
    file = read_weights_file(tmp_path / "epoch_20.pth")
    assert set(file.tensors) == {"weight", "bias"} and torch.equal(file.tensors["weight"], state["weight"])
    assert file.geometry == GEOMETRY
    assert read_torch_file(file.path)["meta"]["hook_msgs"]["best_score"] == 0.5


def test_numpy_scalars_by_their_name_before_numpy_2(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    content = {"meta": {"best": np.float64(0.5)}, "state_dict": net().state_dict()}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    new = b"numpy._core.multiarray\nscalar"
    assert new in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(new, b"numpy.core.multiarray\nscalar"))
    assert set(read_weights(path)) == {"weight", "bias"}


def test_the_log_of_an_mmengine_run_is_passed_over(tmp_path: Path) -> None:
    log = HistoryBuffer([0.5, 0.25], [1, 1])
    hub = {"log_scalars": OrderedDict({"train/loss": log}), "runtime_info": {"iter": 2, "best": np.float64(0.5)}}
    torch.save({"message_hub": hub, "state_dict": net().state_dict(), "meta": {"seed": 3}}, tmp_path / "iter_2.pth")
    content = read_torch_file(tmp_path / "iter_2.pth")
    assert set(read_weights(tmp_path / "iter_2.pth")) == {"weight", "bias"}
    assert content["message_hub"]["runtime_info"]["best"] == 0.5
    assert vars(content["message_hub"]["log_scalars"]["train/loss"]) == {}
    assert log.current() == 0.25  # and mmengine's own class is as it was


class Climber:
    """Asks a harmless class for what it leads to."""

    def __init__(self, owner: type, name: str) -> None:
        self.wanted = owner, name

    def __reduce__(self):
        return getattr, self.wanted


@pytest.mark.parametrize("owner, name", [(HistoryBuffer, "__init__"), (np.ndarray, "tofile"), (HistoryBuffer, "mro")])
def test_getattr_gives_the_statistics_of_a_log_and_nothing_else(owner: type, name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict(), "meta": Climber(owner, name)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"more than tensors and plain values \(" + name):
        read_weights(tmp_path / "w.pth")


def test_numpy_objects_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict(), "meta": np.array([None])}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("place", ["state_dict", "meta", "optimizer"])
def test_code_is_not_run_wherever_it_hides(place: str, tmp_path: Path) -> None:
    content = {"state_dict": net().state_dict(), place: Evil(tmp_path / "trap")}
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"more than tensors and plain values \(posix.mkdir\)"):
        read_weights(tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model = (",
        "model = 3",
        "model = dict(type='Other')",
        "import os\nos.mkdir('trap')",
        "model = __import__('os').mkdir('trap')",
        CONFIG_TEXT.replace("[41, 64, 64]", "[41, 'x', 64]"),
    ],
)
def test_configs_that_do_not_tell_the_geometry(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"meta": {"config": text}, "state_dict": net().state_dict()}, "w.pth")
    assert read_weights_file("w.pth").geometry is None
    assert os.listdir() == ["w.pth"]


def test_a_folder_states_the_geometry_of_its_model(tmp_path: Path) -> None:
    model = net()
    model.geometry = GEOMETRY
    folder = save_checkpoint(tmp_path / "a", model, "", META)
    assert read_weights_file(folder).geometry == GEOMETRY
    assert read_weights_file(folder / "model.safetensors").geometry == GEOMETRY


def test_a_folder_from_before_that_states_it_by_its_config(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(), CONFIG_TEXT, META)
    assert read_weights_file(folder).geometry == GEOMETRY
    assert read_weights_file(save_checkpoint(tmp_path / "b", net(), "seed = 1\n", META)).geometry is None


def test_a_statement_that_cannot_be_read(tmp_path: Path) -> None:
    state = net().state_dict()
    state._metadata[""]["geometry"] = {"point_cloud_range": [1]}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="states a geometry that cannot be read"):
        read_weights(tmp_path / "w.pth")


def test_damaged_and_absent_files(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "a", net(), "", META)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(folder)
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_weights(tmp_path / "nothing")
    torch.save({"state_dict": net().state_dict()}, tmp_path / "half.pth")
    whole = (tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is damaged"):
        read_weights(tmp_path / "half.pth")
    torch.save({"state_dict": net().state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "old.pth").read_bytes()
    storage = whole.index(b"FloatStorage")  # a type's name: what is left of one is no type that the file wants
    cuts = (storage - 2, storage + 4, storage + len("FloatStorage"), len(whole) - 1)
    for damaged in (b"\x80\x02junk", *(whole[:cut] for cut in cuts)):
        (tmp_path / "old.pth").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged"):
            read_weights(tmp_path / "old.pth")
    for content in ({"state_dict": {1: torch.zeros(1)}}, {"state_dict": {"epoch": 3}}):
        torch.save(content, tmp_path / "no_state.pth")
        with pytest.raises(CheckpointError, match="no state dict"):
            read_weights(tmp_path / "no_state.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        read_weights(tmp_path / "list.pth")


def test_a_failed_download_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(CheckpointError, match="no file of torch.save, perhaps a failed download"):
        read_torch_file(tmp_path / "w.pth")
