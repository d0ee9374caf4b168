"""`aqr robustness` on the shipped detector and a few synthetic keyframes: complete, resumed, shared, refused."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from aqr_core.config import load_config
from aqr_core.data.faults import suite
from aqr_core.errors import ConfigError
from aqr_core.structures import Batch
from aqr_eval import load_submission
from aqr_eval.robustness import CLEAN, load_run
from aqr_train.cli import main
from aqr_train.robustness import runner
from aqr_train.robustness.account import Account
from aqr_train.robustness.plan import CLEAN_CELL, choose_cells, place_cells

sys.path.insert(0, str(Path(__file__).parent))
from forked_ranks import carry_out  # noqa: E402

KEYFRAMES = 2
PART = ["--only", "missing_camera", "fog", "--severity", "1", "3", "--first", str(KEYFRAMES)]
CELLS = ["clean", "fog-1", "fog-3", "missing_camera-1", "missing_camera-3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments that name the shipped detector and six keyframes of a synthetic scene."""
    root = tmp_path_factory.mktemp("robustness") / "data"
    assert main(["synth", "--out", str(root), "--scenes", "2", "--seed", "1", "--workers", "1"]) == 0
    assert main(["prepare", "--dataroot", str(root), "--version", "v1.0-mini"]) == 0
    return ["cmt_tiny", "cmt_tiny", "--dataroot", str(root), "--num-workers", "0", "--split", "mini_val"]


@pytest.fixture(scope="module")
def done(model: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some cells of MultiCorrupt."""
    folder = tmp_path_factory.mktemp("done") / "out"
    assert multicorrupt(model, folder) == 0
    return folder


@pytest.fixture
def again(done: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    for file in done.rglob("*.json"):
        copy = tmp_path / "again" / file.relative_to(done)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path / "again"


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the cells that are written from now on."""
    names: list[str] = []
    write = runner.CellFiles.write
    monkeypatch.setattr(
        runner.CellFiles, "write", lambda files, trial, result: (names.append(trial.name), write(files, trial, result))
    )
    return names


def multicorrupt(model: list[str], out: Path, *more: str) -> int:
    return main(["robustness", *model, "--suite", "multicorrupt", *PART, "--out", str(out), *more])


def summaries(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "summary.json").read_bytes(), (folder / "summary.md").read_bytes()


def test_every_cell_is_scored_and_says_what_failed(done: Path) -> None:
    assert sorted(file.stem for file in (done / "cells").iterdir()) == CELLS
    run = load_run(done)
    assert (run.model, run.suite, run.keyframes, run.seed) == ("cmt_tiny", "multicorrupt", KEYFRAMES, 0)
    assert list(run.by_corruption) == ["fog", "missing_camera"]  # in the order of the suite
    assert 0.6 < run.clean.nds < 1 and not run.clean.removed and run.clean.tp_errors
    fog, cameras = run.by_corruption.values()
    assert fog[1].nds < fog[0].nds < run.clean.nds and cameras[1].nds < run.clean.nds
    assert fog[0].removed["ImageFog/images"] == 6 and fog[0].removed["LidarFog/points"] > 1000
    assert cameras[0].removed["ViewDrop/images"] == 6
    assert cameras[0].removed["ViewDrop/images_lost"] < cameras[1].removed["ViewDrop/images_lost"]  # nested
    assert (done / "summary.md").read_text().startswith("cmt_tiny, suite multicorrupt, 2 keyframes, seed 0.")
    assert len(list(done.glob("*.png"))) == 2


def test_clean_scores_are_those_of_aqr_test(model: list[str], done: Path, tmp_path: Path) -> None:
    root = Path(model[3])
    lines = (root / "infos_mini_val.jsonl").read_text().splitlines(keepends=True)
    (root / "infos_first.jsonl").write_text("".join(lines[: KEYFRAMES + 1]))
    assert main(["test", *model[:-1], "first", "--out", str(tmp_path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    clean = load_run(done).clean
    assert (clean.nds, clean.mean_ap) == (metrics["NDS"], metrics["mAP"])


def test_what_is_there_is_not_predicted_again(model: list[str], again: Path, done: Path, predicted: list[str]) -> None:
    assert multicorrupt(model, again) == 0
    assert predicted == [] and summaries(again)[0] == summaries(done)[0]


def test_a_lost_or_damaged_cell_is_predicted_again(
    model: list[str], again: Path, done: Path, predicted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (again / "cells" / "fog-1.json").unlink()
    (again / "cells" / "fog-3.json").write_text('{"identity": {')
    (again / "cells" / "missing_camera-1.json").write_bytes((again / "cells" / "missing_camera-3.json").read_bytes())
    (again / "summary.json").write_text("")
    assert multicorrupt(model, again) == 0
    assert predicted == ["fog-1", "fog-3", "missing_camera-1"]
    said = capsys.readouterr().err
    assert "fog-3 is predicted again: " in said and "fog-3.json is damaged." in said
    assert "missing_camera-1.json is of another cell." in said and "2 of 5 cells are there already." in said
    assert summaries(again) == summaries(done)


def test_an_interrupted_run_goes_on(
    model: list[str], tmp_path: Path, done: Path, predicted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, evaluate, scored = tmp_path / "out", runner.evaluate, []

    def interrupted(*arguments: object) -> object:
        scored.append(arguments)
        if len(scored) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(runner, "evaluate", interrupted)
    assert multicorrupt(model, out) == 130
    assert predicted == ["clean", "fog-1"] and not (out / "summary.json").exists()
    assert multicorrupt(model, out) == 0
    assert predicted == CELLS and summaries(out) == summaries(done)


def test_another_seed_is_another_result(
    model: list[str], again: Path, done: Path, predicted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert multicorrupt(model, again, "--seed", "1") == 0
    assert predicted == CELLS[1:]  # nothing is drawn in the clean test
    assert "fog-1 is predicted again: seed was 0 and is 1." in capsys.readouterr().err
    lost = [load_run(folder).by_corruption["missing_camera"][1].removed for folder in (done, again)]
    assert lost[0] != lost[1]


def test_other_keyframes_weights_and_settings_are_other_results(
    model: list[str], again: Path, predicted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--only", "fog", "--severity", "1"]
    options = ["robustness", *model, "--suite", "multicorrupt", *one, "--out", str(again), "--save-submissions"]
    assert main([*options, "--first", "1"]) == 0
    assert "fog-1 is predicted again: keyframes was 2 and is 1." in capsys.readouterr().err
    kept = load_submission(again / "submissions" / "fog-1.safetensors")
    assert len(kept.tokens) == 1 and len(kept.boxes)
    assert main([*options, "--first", "1"]) == 0
    (again / "submissions" / "clean.safetensors").unlink()
    head = "model.pts_bbox_head.bbox_coder.max_num"
    assert main([*options, "--first", "1"]) == 0
    assert "clean is predicted again: its submission was not kept." in capsys.readouterr().err
    assert main([*options, "--first", "1", "--cfg-options", f"{head}=50"]) == 0
    assert "fog-1 is predicted again: model was " in capsys.readouterr().err
    assert predicted == ["clean", "fog-1", "clean", "clean", "fog-1"]


def aqr(*words: str) -> int:
    return main(list(words))


def test_two_processes_write_what_one_does(model: list[str], done: Path, tmp_path: Path) -> None:
    words = ["robustness", *model, "--suite", "multicorrupt", *PART, "--out", str(tmp_path)]
    (tmp_path / "cells").mkdir()
    there = tmp_path / "cells" / "fog-1.json"  # the second process must skip it too
    there.write_bytes((done / "cells" / "fog-1.json").read_bytes())
    shown = carry_out(__file__, [(2, "aqr", words)])
    assert shown.count("mRA ") == 1
    assert summaries(tmp_path) == summaries(done)


def test_a_sensor_that_the_config_does_not_use_is_skipped_with_a_reason() -> None:
    entry = load_config("cmt_lidar_voxel0075_cbgs")["data"]["val"]
    trials, skipped = place_cells(choose_cells("modality"), entry, 0)
    assert [trial.name for trial in trials] == ["clean", "lidar_drop-1"]
    assert len(skipped) == 9 and skipped[0].corruption == "view_drop"
    assert skipped[0].reason == (
        "The pipeline has no LoadMultiViewImageFromFiles, so with CameraDrop nothing would change"
    )
    with pytest.raises(ConfigError, match="so with CameraDrop nothing would change; choose a failure of another"):
        place_cells(choose_cells("modality", ["view_drop"]), entry, 0)


def test_a_part_of_a_suite() -> None:
    assert choose_cells("multicorrupt") == list(suite("multicorrupt"))
    assert [(cell.name, cell.severity) for cell in choose_cells("multicorrupt", ["snow", "fog"], [2])] == [
        ("fog", 2),
        ("snow", 2),
    ]
    assert CLEAN_CELL.name == CLEAN and not CLEAN_CELL.steps


def test_reports_are_averaged_over_all_keyframes() -> None:
    account = Account()
    empty = torch.zeros(0)
    for faults in ([{"A/points": 0.1}, {}], [{"A/points": 0.2, "B/images": 3.0}]):
        tokens = [""] * len(faults)
        account.note(Batch(tokens, [], empty, empty, [], [], [], faults=faults))
    assert account.mean(3, Accelerator(cpu=True)) == pytest.approx({"A/points": 0.1, "B/images": 1.0})


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    def call(*words: str) -> str:
        assert main(["robustness", *words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1
        return said

    yield call


def test_what_is_refused(model: list[str], done: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    out, file = ["--out", str(tmp_path / "out")], tmp_path / "file"
    file.write_text("")
    modality = [*model, "--suite", "modality"]
    assert "There is no suite 'modalty'; choose among nuscenes-r, multicorrupt, modality." in refused(
        *model, *out, "--suite", "modalty"
    )
    assert f"--out {file} is a file; name the folder" in refused(*modality, "--out", str(file))
    assert "--first is 0; ask for at least 1 keyframe." in refused(*modality, *out, "--first", "0")
    assert "--first 9 asks for more than the 6 keyframes" in refused(*modality, *out, "--first", "9")
    assert "--seed is -1; give a whole number from 0." in refused(*modality, *out, "--seed", "-1")
    assert "--severity 2 is not in modality; give one of 1." in refused(*modality, *out, "--severity", "2")
    assert "--only view_drp is not in modality. Did you mean 'view_drop'?" in refused(
        *modality, *out, "--only", "view_drp"
    )
    wrong = ["cmt_tiny", "nowhere", *modality[2:]]
    assert "Checkpoint 'nowhere' is neither a path nor shipped weights" in refused(*wrong, *out)
    assert f"--out {done} holds the suite multicorrupt; name another folder for modality." in refused(
        *modality, "--out", str(done)
    )
    assert not os.path.exists(out[1])
