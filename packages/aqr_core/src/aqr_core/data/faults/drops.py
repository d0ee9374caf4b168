"""Sensors that deliver nothing: the LiDAR, all cameras, or some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aqr_core.data.faults.fault import CameraFault, Fault, Place, checked_probability
from aqr_core.data.frame import Frame
from aqr_core.data.transforms.modality import ModalMask3D
from aqr_core.errors import ConfigError
from aqr_core.registry import TRANSFORMS, suggest
from aqr_eval.nuscenes.classes import CAMERAS


class _SensorDrop(Fault):
    """A sensor is blank in every keyframe, as `ModalMask3D` does it."""

    place = Place.FIRST
    modality: str

    def strike(self, frame: Frame, seed: int) -> None:
        """Nothing is drawn."""
        ModalMask3D("test", self.modality)(frame)
        self.report(frame, dropped=1)


@TRANSFORMS.register_module()
class LidarDrop(_SensorDrop):
    """No LiDAR: all points lie at the origin, as many as the keyframe's own.

    Source: the tests of CMT and MoME without LiDAR, `ModalMask3D(mode='test', mask_modal='points')`; an empty cloud
    would be another input.

    Args:
        seed: not used; every keyframe is struck.
    """

    sensor = "lidar"
    modality = "points"


@TRANSFORMS.register_module()
class CameraDrop(_SensorDrop):
    """No cameras: all images are black before they are normalised.

    Source: as `LidarDrop`, with `mask_modal='image'`.

    Args:
        seed: not used; every keyframe is struck.
    """

    sensor = "camera"
    modality = "image"


@TRANSFORMS.register_module()
class ViewDrop(CameraFault):
    """Some cameras deliver black images.

    Source: `cameras` is the missing camera of nuScenes-R's toolkit, `probability` that of MultiCorrupt (each image of
    each keyframe for itself: 0.2, 0.4, 0.6). The losses of two counts or probabilities are nested.

    Give exactly one of the first three.

    Args:
        cameras: names of those that fail always.
        count: how many fail, drawn anew in each keyframe.
        probability: that an image is lost.
        seed: of the draws.
    """

    def __init__(
        self,
        cameras: Sequence[str] | None = None,
        count: int | None = None,
        probability: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if sum(given is not None for given in (cameras, count, probability)) != 1:
            raise ConfigError(
                f"ViewDrop got cameras={cameras}, count={count}, probability={probability}; give exactly one of them."
            )
        for camera in cameras or ():
            if camera not in CAMERAS:
                raise ConfigError(f"ViewDrop: there is no camera '{camera}'.{suggest(camera, list(CAMERAS))}")
        if count is not None and not 0 <= count <= len(CAMERAS):
            raise ConfigError(f"ViewDrop: count is {count}; give 0 to {len(CAMERAS)} cameras.")
        self.cameras = None if cameras is None else frozenset(cameras)
        self.count = count
        self.probability = None if probability is None else checked_probability("ViewDrop", probability)

    def strike(self, frame: Frame, seed: int) -> None:
        """Blackens images; a `ConfigError` where there are none or they are normalised."""
        self.check_images(frame)
        names = list(frame.info.cameras)
        lost = self._draw(names, self.draws(seed, frame.info.token))
        for i in np.flatnonzero(lost):
            frame.images[i] = np.zeros_like(frame.images[i])
        self.report(frame, images=len(names), images_lost=int(lost.sum()))

    def _draw(self, names: list[str], rng: np.random.Generator) -> np.ndarray:
        """(N,) bool, the images that are lost."""
        if self.cameras is not None:
            return np.isin(names, list(self.cameras))
        if self.count is not None:
            return rng.permutation(len(names)) < self.count
        assert self.probability is not None
        return rng.uniform(size=len(names)) < self.probability
