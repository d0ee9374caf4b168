"""Sensors that deliver old data: the frames of the keyframe before, by nuScenes-R and MultiCorrupt.

Only the place where the loaders look changes, so it costs no time; the infos of earlier keyframes are looked up where
they are needed. The first keyframe of a scene has none before it and is never struck.
"""

from __future__ import annotations

from dataclasses import replace

from aqr_core.data.faults.fault import Fault, Place, checked_probability
from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError
from aqr_core.infos.schema import Info
from aqr_core.registry import TRANSFORMS


class _Stuck(Fault):
    """A sensor that now and then repeats old data.

    With a run of 1, a keyframe is struck with `probability` and repeats the keyframe before it, whether that was struck
    or not. With a run of K > 1, keyframes are drawn with 1 - (1 - probability)^(1/K), and each of them begins K that
    are struck, which leaves the share of struck ones at `probability`; they repeat the last that was not.
    """

    place = Place.FIRST

    def __init__(self, probability: float, run: int = 1, seed: int = 0) -> None:
        super().__init__(seed)
        self.probability = checked_probability(type(self).__name__, probability)
        if run < 1:
            raise ConfigError(f"{type(self).__name__}: run is {run}; give how many keyframes it lasts, 1 or more.")
        self.run = run

    def repeated(self, frame: Frame, seed: int, channel: str) -> Info | None:
        """The keyframe whose data the channel repeats; None where it works."""
        source = frame.info
        while self._is_struck(frame, source, seed, channel):
            before = frame.previous(source)
            if before is None:
                break
            source = before
            if self.run == 1:
                break
        return None if source is frame.info else source

    def _is_struck(self, frame: Frame, info: Info, seed: int, channel: str) -> bool:
        """Whether one of the last `run` keyframes begins a run."""
        start = 1 - (1 - self.probability) ** (1 / self.run)
        candidate: Info | None = info
        for _ in range(self.run):
            if candidate is None:
                return False
            if self.draws(seed, candidate.token, channel).uniform() < start:
                return True
            candidate = frame.previous(candidate) if self.run > 1 else None
        return False


@TRANSFORMS.register_module()
class StuckLidar(_Stuck):
    """The LiDAR repeats an earlier keyframe.

    Source: nuScenes-R's frame drop, with the old points, sweeps, motion and ages: an old cloud in the LiDAR frame of
    its own time (`run=1` is 'discrete', `run=4` 'consecutive'). It strikes exactly the given share of the keyframes of
    val; ours are drawn one by one. MultiCorrupt's temporal misalignment, probability 0.2, 0.4, 0.6, is
    `keep_motion=True`: it puts the points of old files into the present ones, so that motion and ages are the present
    ones; where the numbers of sweeps differ, the sweeps stay. (It takes the keyframe before even from another scene.)

    Args:
        probability: that a keyframe is struck; a larger one strikes the same and more.
        run: how many keyframes in a row are struck.
        keep_motion: keep the motion and ages of the present sweeps.
        seed: of the draws.
    """

    sensor = "lidar"

    def __init__(self, probability: float, run: int = 1, keep_motion: bool = False, seed: int = 0) -> None:
        super().__init__(probability, run, seed)
        self.keep_motion = keep_motion

    def strike(self, frame: Frame, seed: int) -> None:
        """Points `info` to the old files. A `ConfigError` where points are there already."""
        if len(frame.points):
            raise self.misplaced(frame, "points that are loaded already")
        old = self.repeated(frame, seed, "lidar")
        self.report(frame, stuck=old is not None, seconds=frame.info.timestamp - old.timestamp if old else 0)
        if old is None:
            return
        if self.keep_motion:
            present = frame.info.sweeps
            same = len(present) == len(old.sweeps)
            sweeps = (
                tuple(replace(s, path=o.path) for s, o in zip(present, old.sweeps, strict=False)) if same else present
            )
        else:
            sweeps = old.sweeps
        frame.info = replace(frame.info, lidar=old.lidar, sweeps=sweeps)


@TRANSFORMS.register_module()
class StuckCameras(_Stuck):
    """Each camera for itself repeats its image of an earlier keyframe, with the calibration of the present one.

    Source: nuScenes-R's frame drop (`run=1` is 'discrete', `run=4` 'consecutive') and, with `run=1` and probability
    0.2, 0.4, 0.6, MultiCorrupt's temporal misalignment; for what differs see `StuckLidar`.

    Args:
        probability: that an image is struck; a larger one strikes the same and more.
        run: how many keyframes in a row are struck.
        seed: of the draws.
    """

    sensor = "camera"

    def strike(self, frame: Frame, seed: int) -> None:
        """Points `info` to the old images. A `ConfigError` where images are there already."""
        if len(frame.images):
            raise self.misplaced(frame, "images that are loaded already")
        cameras = {}
        for name, camera in frame.info.cameras.items():
            old = self.repeated(frame, seed, name)
            cameras[name] = replace(camera, path=old.cameras[name].path) if old else camera
            self.report(frame, images=1, stuck=old is not None)
        frame.info = replace(frame.info, cameras=cameras)
