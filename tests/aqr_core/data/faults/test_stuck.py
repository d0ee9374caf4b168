"""Sensors that repeat old data, and where they find it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from aqr_core.data import Frame, NuScenesDataset
from aqr_core.data.faults import StuckCameras, StuckLidar
from aqr_core.errors import ConfigError, DataError
from aqr_core.infos import open_infos
from aqr_core.infos.links import Links


def test_the_lidar_repeats_the_keyframe_before(load):
    """Old points, old sweeps, old motion, old ages; the rest is of now."""
    now, old = load(index=3), load(index=2)
    stuck = load(dict(type="StuckLidar", probability=1), index=3)
    np.testing.assert_array_equal(stuck.points, old.points)
    np.testing.assert_array_equal(np.stack(stuck.images), np.stack(now.images))
    np.testing.assert_array_equal(stuck.gt_boxes, now.gt_boxes)
    np.testing.assert_array_equal(stuck.lidar2img, now.lidar2img)
    assert stuck.info.token == now.info.token
    assert stuck.faults["StuckLidar/seconds"] == pytest.approx(0.5, abs=0.02)


def test_old_files_with_the_motion_of_now(load):
    now, old = load(index=3), load(index=2)
    stuck = load(dict(type="StuckLidar", probability=1, keep_motion=True), index=3)
    np.testing.assert_array_equal(stuck.points[:, 3], old.points[:, 3])
    assert sorted(set(stuck.points[:, 4])) == sorted(set(now.points[:, 4]))
    own = stuck.points[:, 4] == 0
    np.testing.assert_array_equal(stuck.points[own], old.points[old.points[:, 4] == 0])
    for before, after, source in zip(now.info.sweeps, stuck.info.sweeps, old.info.sweeps, strict=True):
        assert after.path == source.path and after.age == before.age
        np.testing.assert_array_equal(after.sweep2lidar, before.sweep2lidar)


def test_without_as_many_sweeps_the_sweeps_stay(load):
    """The second keyframe has sweeps, the first has none."""
    now = load(index=1)
    stuck = load(dict(type="StuckLidar", probability=1, keep_motion=True), index=1)
    assert [s.path for s in stuck.info.sweeps] == [s.path for s in now.info.sweeps]
    assert stuck.info.lidar.path == load(index=0).info.lidar.path


def test_cameras_repeat_images_each_for_itself(load):
    now, old = load(index=3), load(index=2)
    all_stuck = load(dict(type="StuckCameras", probability=1), index=3)
    np.testing.assert_array_equal(np.stack(all_stuck.images), np.stack(old.images))
    np.testing.assert_array_equal(all_stuck.lidar2img, now.lidar2img)
    some = {index: load(dict(type="StuckCameras", probability=0.5), index=index) for index in range(1, 6)}
    counts = [frame.faults["StuckCameras/stuck"] for frame in some.values()]
    assert 0 < sum(counts) < 30
    for i, image in enumerate(some[3].images):
        assert np.array_equal(image, now.images[i]) or np.array_equal(image, old.images[i])


def test_the_first_keyframe_of_a_scene_is_never_struck(load):
    for run in (1, 4):
        steps = [dict(type=name, probability=1, run=run) for name in ("StuckLidar", "StuckCameras")]
        first, clean = load(*steps, index=0), load(index=0)
        np.testing.assert_array_equal(first.points, clean.points)
        np.testing.assert_array_equal(np.stack(first.images), np.stack(clean.images))
        assert first.faults["StuckLidar/stuck"] == first.faults["StuckCameras/stuck"] == 0


def scene(frame, length):
    """Keyframes of one long scene without files; the LiDAR's path is the number of the keyframe."""
    infos = [
        replace(
            frame.info,
            token=str(i),
            prev=str(i - 1) if i else "",
            timestamp=0.5 * i,
            lidar=replace(frame.info.lidar, path=str(i)),
        )
        for i in range(length)
    ]
    previous = lambda info: infos[int(info.prev)] if info.prev else None  # noqa: E731
    return [Frame(info, frame.dataroot, np.random.default_rng(0), previous=previous) for info in infos]


def repeats(frame, length, **arguments):
    """(length,) keyframe whose data each keyframe shows."""
    frames = scene(frame, length)
    for each in frames:
        StuckLidar(**arguments)(each)
    return np.array([int(each.info.lidar.path) for each in frames])


def test_single_frames_repeat_their_predecessor(new_frame):
    shown = repeats(new_frame(0), 2000, probability=0.3)
    lag = np.arange(2000) - shown
    assert set(lag) == {0, 1} and abs(lag.mean() - 0.3) < 0.04
    more = np.arange(2000) - repeats(new_frame(0), 2000, probability=0.6)
    assert (more >= lag).all()


def test_runs_last_four_frames_and_repeat_the_last_good_one(new_frame):
    shown = repeats(new_frame(0), 2000, probability=0.3, run=4)
    stuck = np.arange(2000) != shown
    assert abs(stuck.mean() - 0.3) < 0.05
    edges = np.flatnonzero(np.diff(np.concatenate([[0], stuck.astype(int), [0]])))
    starts, ends = edges[::2], edges[1::2]
    assert ((ends - starts) >= 4)[1:-1].all()
    for start, end in zip(starts, ends, strict=True):
        assert (shown[start:end] == start - 1).all()


def test_infos_without_links(shared_dir, load):
    root = shared_dir / "data/mmdet3d/demo/data/nuscenes"
    (pickle,) = root.glob("*.pkl")
    dataset = NuScenesDataset(root, pickle, [dict(type="StuckLidar", probability=1)], test_mode=True)
    with pytest.raises(
        DataError, match="does not say which keyframe comes before 'ca9a.*; build infos with `aqr prepare`"
    ):
        dataset.pipeline(dataset.frame(0))


def test_links(infos_path):
    infos = open_infos(infos_path)
    assert infos.tokens() == [info.token for info in infos]
    links = Links(infos)
    assert links.previous(infos[0]) is None
    assert links.previous(infos[3]).token == infos[2].token
    with pytest.raises(DataError, match="holds keyframe '.*' but not 'elsewhere' before it"):
        links.previous(replace(infos[3], prev="elsewhere"))


def test_tokens_of_records_that_others_wrote(infos_path, tmp_path):
    """Any order of keys and any spacing is a record; it is only slower."""
    header, *records = infos_path.read_text().splitlines()
    other = tmp_path / "infos.jsonl"
    lines = [json.dumps(dict(reversed(json.loads(record).items()))) for record in records]
    other.write_text("\n".join([header, *lines]) + "\n")
    assert open_infos(other).tokens() == open_infos(infos_path).tokens()


def test_a_frame_of_no_dataset(new_frame):
    frame = new_frame(0)
    frame.points, frame.images = frame.points[:0], []
    with pytest.raises(ConfigError, match="Keyframe 'token' stands alone"):
        StuckLidar(1)(frame)


@pytest.mark.parametrize("fault", [StuckLidar, StuckCameras])
def test_wrong_arguments_and_places(new_frame, fault):
    with pytest.raises(ConfigError, match=f"{fault.__name__}: probability is 2"):
        fault(2)
    with pytest.raises(ConfigError, match="run is 0; give how many keyframes it lasts"):
        fault(0.5, run=0)
    with pytest.raises(ConfigError, match="loaded already in sample 'token'; put it before everything"):
        fault(0.5)(new_frame(0))
