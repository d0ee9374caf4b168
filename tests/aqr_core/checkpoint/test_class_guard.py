"""Weights of a detector with other classes, or the same in another order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aqr_core.checkpoint import load_weights, save_checkpoint
from aqr_core.errors import CheckpointError


class Head(nn.Module):
    """As much of a head as the guard looks at."""

    def __init__(self, names: tuple[str, ...] | None) -> None:
        super().__init__()
        self.class_names = names
        self.task_heads = nn.Linear(4, 3)


class Detector(nn.Module):
    def __init__(self, names: tuple[str, ...] | None = ("car", "bus", "truck")) -> None:
        super().__init__()
        self.img_neck = nn.Linear(2, 2)
        self.pts_bbox_head = Head(names)


def save(path, state, classes):
    torch.save({"meta": {"CLASSES": classes}, "state_dict": state}, path)
    return path


@pytest.mark.parametrize("newer", [False, True])
def test_another_order_of_classes_is_refused(tmp_path, newer):
    path = save(tmp_path / "w.pth", Detector().state_dict(), ["car", "truck", "bus"])
    if newer:  # mmengine's place
        meta = {"dataset_meta": {"classes": ["car", "truck", "bus"]}}
        torch.save({"meta": meta, "state_dict": Detector().state_dict()}, path)
    with pytest.raises(CheckpointError, match="scores the classes car, truck, bus, but the model car, bus, truck"):
        load_weights(Detector(), path)


def test_a_folder_says_its_classes_in_its_metadata(tmp_path):
    names = ("car", "truck", "bus")
    folder = save_checkpoint(tmp_path / "a", Detector(names), "", {"classes": names})
    assert len(load_weights(Detector(names), folder).loaded) == 4
    with pytest.raises(CheckpointError, match="scores the classes car, truck, bus, but the model car, bus, truck"):
        load_weights(Detector(), folder)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("car", "bus", "truck"), ("car", "bus", "truck")),
        (None, ("car", "bus", "truck")),
        (("car", "truck", "bus"), None),
        (("car",), ("car", "bus", "truck")),  # cannot be about three scores
    ],
)
def test_equal_or_unknown_classes_load(tmp_path, classes, names):
    path = save(tmp_path / "w.pth", Detector().state_dict(), classes)
    assert len(load_weights(Detector(names), path).loaded) == 4


def test_classes_do_not_matter_where_no_score_is_loaded(tmp_path):
    state = {key: value for key, value in Detector().state_dict().items() if key.startswith("img_neck")}
    path = save(tmp_path / "w.pth", state, ["car", "truck", "bus"])
    assert len(load_weights(Detector(), path, strict=False).loaded) == 2
