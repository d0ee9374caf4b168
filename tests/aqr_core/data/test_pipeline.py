from __future__ import annotations

from pathlib import Path

import pytest

from aqr_core.data import Pipeline
from aqr_core.errors import ConfigError, DataError
from aqr_core.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class Stamp:
    """Writes its name into the labels of a frame."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, frame: list[str]) -> None:
        frame.append(self.name)


@TRANSFORMS.register_module(force=True)
class NeedsFile(Stamp):
    """Reads a file of the dataroot."""

    def open_files(self, dataroot: Path, classes: tuple[str, ...], split: str) -> None:
        if not (dataroot / self.name).is_file():
            raise DataError(f"{dataroot / self.name} does not exist.")
        self.classes = classes


def stamps(pipeline: Pipeline, epoch: int) -> str:
    frame: list[str] = []
    pipeline(frame, epoch)  # type: ignore[arg-type]
    return "".join(frame)


def test_a_step_is_left_out_from_its_epoch_on():
    pipeline = Pipeline(
        [
            dict(type="Stamp", name="a"),
            dict(type="Stamp", name="b", until_epoch=2),
            lambda frame: frame.append("c"),
            dict(type="Stamp", name="d", until_epoch=None),
            dict(type="NeedsFile", name="e", until_epoch=1),
            dict(type="NeedsFile", name="f", until_epoch=2),
        ]
    )
    assert [stamps(pipeline, epoch) for epoch in (0, 1, 2, 3)] == ["abcdef", "abcdf", "acd", "acd"]
    assert pipeline.switches == {1: ["NeedsFile"], 2: ["Stamp", "NeedsFile"]}
    assert [type(transform).__name__ for transform in pipeline][:2] == ["Stamp", "Stamp"]


def test_files_are_opened_for_steps_that_will_be_used(tmp_path):
    step = dict(type="NeedsFile", name="database")
    with pytest.raises(DataError, match="database does not exist"):
        Pipeline([step]).open_files(tmp_path, ("car",), "train")
    never = Pipeline([dict(step, until_epoch=0)])
    never.open_files(tmp_path, ("car",), "train")
    assert stamps(never, 0) == ""
    (tmp_path / "database").touch()
    pipeline = Pipeline([step])
    pipeline.open_files(tmp_path, ("car",), "train")
    assert [transform.classes for transform in pipeline] == [("car",)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("epoch", [-1, 1.5, "15"])
def test_wrong_epochs(epoch):
    with pytest.raises(ConfigError, match="until_epoch of Stamp is .*; give the first epoch without it"):
        Pipeline([dict(type="Stamp", name="a", until_epoch=epoch)])


def test_what_is_no_transform_is_refused():
    with pytest.raises(ConfigError, match=r"A pipeline step is 'dict\(\)'; give the dict of a transform"):
        Pipeline(["dict()"])  # type: ignore[list-item]
