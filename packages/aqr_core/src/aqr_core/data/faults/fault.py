"""What every sensor failure shares: where it goes in a pipeline, what it draws from, and how it reports.

A failure is a transform with a seed. It draws from a generator of its own, made of its seed, its name and what it
strikes (a keyframe, an image, a LiDAR file). So it is the same with any number of workers and ranks, whatever other
transforms draw, and its severities are nested wherever they share the draws: what fails at 20 % fails at 40 % too.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from enum import Enum
from functools import partial
from pathlib import PurePosixPath
from typing import ClassVar

import cv2
import numpy as np

from aqr_core.data.frame import Frame
from aqr_core.errors import ConfigError

SENSORS = ("lidar", "camera")


class Place(Enum):
    """Where in a pipeline a failure goes."""

    FIRST = "before everything is loaded"
    BEHIND_IMAGES = "right behind LoadMultiViewImageFromFiles"
    BEHIND_POINTS = "right behind LoadPointsFromFile and LoadPointsFromMultiSweeps"


class Fault(ABC):
    """A sensor failure.

    Args:
        seed: of all that it draws.

    Attributes:
        sensor: the one of `SENSORS` that it strikes.
        place: where in a pipeline it goes; elsewhere it raises a `ConfigError`.
    """

    sensor: str
    place: ClassVar[Place]

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, frame: Frame) -> None:
        """Strike, with the fault's own seed."""
        self.strike(frame, self.seed)

    @abstractmethod
    def strike(self, frame: Frame, seed: int) -> None:
        """Change the frame in place and report what was changed; boxes stay. The seed stands for the fault's own."""

    def draws(self, seed: int, *struck: str) -> np.random.Generator:
        """The generator for one thing that is struck, such as a sample's token or a camera of it."""
        return np.random.default_rng(np.frombuffer(self._digest(seed, *struck), np.uint32))

    def _digest(self, seed: int, *struck: str) -> bytes:
        text = "\0".join((str(seed), type(self).__name__, *struck))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def report(self, frame: Frame, **numbers: float) -> None:
        """Add to the frame's account of what the faults did; striking twice adds up."""
        for what, number in numbers.items():
            key = f"{type(self).__name__}/{what}"
            frame.faults[key] = frame.faults.get(key, 0.0) + float(number)

    def misplaced(self, frame: Frame, cause: str) -> ConfigError:
        """The error of a pipeline that has the fault at a wrong place."""
        return ConfigError(
            f"{type(self).__name__} finds {cause} in sample '{frame.info.token}'; put it {self.place.value}, or let "
            "with_faults place it."
        )


class RawPointFault(Fault):
    """A failure of single LiDAR turns: it strikes the points of each file, the keyframe's and every sweep's.

    They are in the sensor's own frame, with their rings. A file fails the same from whichever keyframe it is read.
    """

    sensor = "lidar"
    place = Place.FIRST

    @abstractmethod
    def spoil(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(P, 5) x, y, z, intensity, ring of one file, left as they are -> those after the failure."""

    def strike(self, frame: Frame, seed: int) -> None:
        """Have the loaders apply it. A `ConfigError` where points are there already."""
        if len(frame.points):
            raise self.misplaced(frame, "points that are loaded already")
        frame.raw_faults += (partial(self._spoil_file, frame, seed),)

    def _spoil_file(self, frame: Frame, seed: int, points: np.ndarray, path: str) -> np.ndarray:
        left = self.spoil(points, self.draws(seed, PurePosixPath(path).name))
        self.report(frame, points=len(points), points_kept=len(left))
        if len(left) == len(points):
            self.report(frame, points_moved=int((left[:, 0] != points[:, 0]).sum()))
        return left


class CameraFault(Fault):
    """A failure of the cameras, which strikes the images as they were loaded: full size, uint8, BGR."""

    sensor = "camera"
    place = Place.BEHIND_IMAGES

    def check_images(self, frame: Frame) -> None:
        """Raises `ConfigError` where the images are not those that were just loaded."""
        if not len(frame.images):
            raise self.misplaced(frame, "no images")
        if any(image.dtype != np.uint8 for image in frame.images):
            raise self.misplaced(frame, f"images of type {frame.images[0].dtype} instead of uint8")


class ImageFault(CameraFault):
    """A failure of every image; each camera draws for itself."""

    @abstractmethod
    def spoil(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 BGR -> a new such image."""

    def strike(self, frame: Frame, seed: int) -> None:
        """Replace all images, unless they are blank. A `ConfigError` where there are none or they are normalised."""
        self.check_images(frame)
        if "image" in frame.blank:
            return
        spoilt = []
        for camera, image in zip(frame.info.cameras, frame.images, strict=True):
            spoilt.append(self.spoil(image, self.draws(seed, frame.info.token, camera)))
            change = cv2.norm(image, spoilt[-1], cv2.NORM_L1) / image.size
            self.report(frame, images=1, mean_change=change / len(frame.images))
        frame.images = spoilt


def checked_probability(name: str, probability: float) -> float:
    """The probability. Raises `ConfigError` where it is none."""
    if not 0 <= probability <= 1:
        raise ConfigError(f"{name}: probability is {probability}; give one from 0 to 1.")
    return float(probability)
