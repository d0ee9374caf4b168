"""One synthetic scene: the ego vehicle, the objects, and where all of them are at any time.

The world frame is nuScenes' global frame. Time t is in seconds since the scene's first keyframe. The
ground is the plane z = 0, objects stand on it and move at constant velocity along their heading.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aqr_core.structures.boxes3d import BOX_DIM, YAW, wrap_angle
from aqr_core.synth.catalog import Kind, Piece
from aqr_core.synth.raycast import Solids

# The annotated box is this much larger than the surface on every side, as labels enclose their points;
# range noise is clipped below it, so a return from an object lies inside the object's box.
SKIN_M = 0.04


@dataclass(frozen=True)
class EgoMotion:
    """Constant speed and yaw rate in the ground plane: a circular arc.

    Args:
        start: (x, y) of the ego frame's origin at t = 0, metres.
        heading_rad: yaw at t = 0.
        speed_mps: forward speed.
        yaw_rate_rps: turning rate, radians per second.
    """

    start: tuple[float, float]
    heading_rad: float
    speed_mps: float
    yaw_rate_rps: float

    def yaw(self, t: float) -> float:
        """Heading at t, radians."""
        return self.heading_rad + self.yaw_rate_rps * t

    def position(self, t: float | np.ndarray) -> np.ndarray:
        """(..., 3) origin of the ego frame at t."""
        t = np.asarray(t, dtype=np.float64)
        half_turn = self.yaw_rate_rps * t / 2
        chord = self.speed_mps * t * np.sinc(half_turn / np.pi)
        direction = self.heading_rad + half_turn
        x = self.start[0] + chord * np.cos(direction)
        y = self.start[1] + chord * np.sin(direction)
        return np.stack([x, y, np.zeros_like(x)], axis=-1)

    def mounted(self, position_m: tuple[float, float, float], t: float | np.ndarray) -> np.ndarray:
        """(..., 3) world position at t of a point that is fixed to the vehicle."""
        x, y, z = position_m
        heading = self.heading_rad + self.yaw_rate_rps * np.asarray(t, dtype=np.float64)
        cos, sin = np.cos(heading), np.sin(heading)
        offset = np.stack([cos * x - sin * y, sin * x + cos * y, np.full_like(cos, z)], axis=-1)
        return self.position(t) + offset


@dataclass(frozen=True)
class Thing:
    """One object of a scene.

    Args:
        kind: what it is.
        category: nuScenes category; empty for background.
        size: (3,) extent of its box along the heading, across it and up.
        yaw: heading, radians.
        start: (2,) centre at t = 0 in the ground plane.
        velocity: (2,) metres per second.
        colour_bgr: (3,) 0..255.
        reflectivity: LiDAR intensity, 0..255.
    """

    kind: Kind
    category: str
    size: np.ndarray
    yaw: float
    start: np.ndarray
    velocity: np.ndarray
    colour_bgr: np.ndarray
    reflectivity: float

    @property
    def speed_mps(self) -> float:
        """Speed in the ground plane."""
        return float(np.hypot(*self.velocity))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Its shape, which in motion may include a rider."""
        return self.kind.moving_pieces if self.kind.moving_pieces and self.speed_mps > 0 else self.kind.pieces

    def xy(self, t: float | np.ndarray) -> np.ndarray:
        """(..., 2) centre at t in the ground plane."""
        return self.start + np.multiply.outer(np.asarray(t, dtype=np.float64), self.velocity)


@dataclass(frozen=True)
class World:
    """A scene: its objects, the vehicle, and the direction that the light comes from."""

    things: tuple[Thing, ...]
    ego: EgoMotion
    light: np.ndarray  # (3,) unit vector towards the sun

    def boxes(self, t: float) -> np.ndarray:
        """(n, 9) boxes of all objects at t in the world frame, in the project's box convention."""
        rows = [[*thing.xy(t), thing.size[2] / 2, *thing.size, thing.yaw, *thing.velocity] for thing in self.things]
        boxes = np.array(rows).reshape(-1, BOX_DIM)
        boxes[:, YAW] = wrap_angle(boxes[:, YAW])
        return boxes

    def solids(self, t: float) -> Solids:
        """The surfaces of all objects at t."""
        offset, half, yaw, owner = self._shape
        positions = np.array([[*thing.xy(t), thing.size[2] / 2] for thing in self.things])
        return Solids(positions[owner] + offset, half, yaw, owner)

    @cached_property
    def _shape(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from the object's centre in world axes (M, 3), half extents (M, 3), yaws (M,), owners (M,)."""
        offsets, halves, yaws, owners = [], [], [], []
        for index, thing in enumerate(self.things):
            body = thing.size - 2 * SKIN_M
            cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
            for piece in thing.pieces:
                x, y, z = body * np.array(piece.centre)
                offsets.append([cos * x - sin * y, sin * x + cos * y, z])
                halves.append(body * np.array(piece.size) / 2)
                yaws.append(thing.yaw)
                owners.append(index)
        return np.array(offsets), np.array(halves), np.array(yaws), np.array(owners)

    @cached_property
    def surfaces(self) -> list[tuple[Thing, Piece]]:
        """The object and piece behind each row of `solids`."""
        return [(thing, piece) for thing in self.things for piece in thing.pieces]
