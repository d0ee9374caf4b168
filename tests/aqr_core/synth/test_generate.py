from __future__ import annotations

import hashlib
import json

import pytest

from aqr_core.errors import ConfigError, DataError
from aqr_core.synth import generate
from aqr_core.synth.scene_names import choose_scene_names, default_version
from aqr_eval.nuscenes.splits import SPLITS


def digests(root):
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_same_bytes_for_any_number_of_workers(tmp_path):
    options = {"scenes": 2, "seed": 3, "keyframes": 2}
    one = generate(tmp_path / "one", **options, workers=1)
    two = generate(tmp_path / "two", **options, workers=2)
    other = generate(tmp_path / "other", scenes=2, seed=4, keyframes=2, workers=1)
    assert one.keyframes == 4
    assert digests(one.root) == digests(two.root)
    assert len(digests(one.root)) == 13 + 1 + 1 + 2 * (2 * 7 + 9)  # tables, map, record, keyframe files and sweeps
    same_name = "samples/CAM_FRONT/scene-0061__CAM_FRONT__1532999999962000.jpg"
    assert digests(one.root)[same_name] != digests(other.root)[same_name]


def test_scenes_do_not_depend_on_how_many_follow(tmp_path):
    one = generate(tmp_path / "one", 1, 3, workers=1, keyframes=1)
    two = generate(tmp_path / "two", 2, 3, workers=1, keyframes=1)
    files = digests(one.root)
    assert {name for name in files if files[name] != digests(two.root)[name]} <= {
        name for name in files if name.endswith(".json")
    }


def test_a_finished_dataset_is_reused_and_another_is_refused(tmp_path):
    calls = []
    first = generate(tmp_path / "d", 1, 0, workers=1, keyframes=1, progress=lambda *done: calls.append(done))
    assert (first.reused, calls) == (False, [(0, 1), (1, 1)])
    before = digests(first.root)
    again = generate(tmp_path / "d", 1, 0, workers=2, keyframes=1)
    assert again.reused
    assert digests(again.root) == before
    with pytest.raises(DataError, match="differs in seed, objects: remove it"):
        generate(tmp_path / "d", 1, 1, workers=1, keyframes=1, objects=12)
    (tmp_path / "d" / "synth.json").write_text("{")
    with pytest.raises(DataError, match=r"synth\.json is not valid JSON"):
        generate(tmp_path / "d", 1, 0, workers=1, keyframes=1)


def test_an_empty_folder_is_filled_and_a_full_one_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    assert not generate(tmp_path / "empty", 1, 0, workers=1, keyframes=1).reused
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="full exists and is not a synthetic dataset"):
        generate(tmp_path / "full", 1, 0, workers=1)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "d", 2, 0, workers=1, keyframes=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenes": 0}, "0 scenes do not fit v1.0-mini: ask for 1 to 10"),
        ({"scenes": 851}, "851 scenes do not fit v1.0-trainval: ask for 1 to 850"),
        ({"scenes": 1, "version": "v1.0-synth"}, "'v1.0-synth' must end in"),
        ({"scenes": 1, "seed": -1}, "seed -1"),
        ({"scenes": 1, "workers": 0}, "workers 0"),
        ({"scenes": 1, "keyframes": 0}, "keyframes 0"),
        ({"scenes": 1, "preset": "big"}, "'big'"),
    ],
)
def test_arguments_out_of_range_are_one_sentence(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        generate(tmp_path / "d", **({"seed": 0} | arguments))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scenes", [2, 5, 10, 12, 100, 850])
def test_both_splits_get_scenes_four_to_one(scenes):
    version = default_version(scenes)
    train, val = ("mini_train", "mini_val") if version == "v1.0-mini" else ("train", "val")
    names = choose_scene_names(scenes, version)
    assert len(set(names)) == scenes
    in_train, in_val = len(set(names) & set(SPLITS[train])), len(set(names) & set(SPLITS[val]))
    assert in_train + in_val == scenes
    if scenes % 5 == 0 and scenes <= 750:
        assert (in_train, in_val) == (scenes * 4 // 5, scenes // 5)
    assert in_val >= 1


def test_the_record_holds_the_arguments(tiny):
    record = json.loads((tiny.dataset.root / "synth.json").read_text())
    assert (record["scenes"], record["seed"], record["preset"]) == (3, 7, "tiny")


def test_files_of_preset_full_are_as_large_as_those_of_nuscenes(tmp_path):
    generate(tmp_path / "full", 1, 0, preset="full", workers=1, keyframes=1)
    images = [path.stat().st_size for path in (tmp_path / "full").glob("samples/CAM_*/*.jpg")]
    assert len(images) == 6
    assert 130e3 < sum(images) / 6 < 165e3
    [cloud] = (tmp_path / "full").glob("samples/LIDAR_TOP/*.bin")
    assert cloud.stat().st_size / 20 == pytest.approx(34.7e3, rel=0.1)
