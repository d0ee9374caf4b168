"""What the synthetic world is made of: for each kind of object its size, shape, material and habits.

Both sensors see the label. The shape is a few boxes that differ by class. The material fixes the
LiDAR intensity (`reflectivity`, on the 0..255 scale of the files) and the base colour of the images;
an instance varies around both. Sizes are typical for nuScenes.
"""

from __future__ import annotations

from dataclasses import dataclass

from aqr_eval.nuscenes.classes import BICYCLE_RACK


@dataclass(frozen=True)
class Piece:
    """One box of an object's shape, in fractions of the object's own box.

    Args:
        centre: offset of the piece's centre along the heading, to the left and up, each in [-0.5, 0.5].
        size: extent along the same axes, each in (0, 1].
        tone: brightness relative to the object's colour.
    """

    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    tone: float = 1.0


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    Args:
        name: one of the ten detection classes, or a name of our own.
        categories: nuScenes categories that an instance may have; empty for background without annotation.
        size_m: mean extent along the heading, across it and up.
        spread: relative standard deviation of the extents.
        pieces: shape at rest.
        moving_pieces: shape in motion; empty where it is the same.
        colour_bgr: base colour, 0..255.
        reflectivity: mean LiDAR intensity, 0..255.
        speed_mps: lowest and highest speed in motion.
        moving: probability of being in motion.
        road_aligned: heads along or across the road rather than anywhere.
    """

    name: str
    categories: tuple[str, ...]
    size_m: tuple[float, float, float]
    spread: float
    pieces: tuple[Piece, ...]
    colour_bgr: tuple[int, int, int]
    reflectivity: float
    moving_pieces: tuple[Piece, ...] = ()
    speed_mps: tuple[float, float] = (0.0, 0.0)
    moving: float = 0.0
    road_aligned: bool = True

    @property
    def annotated(self) -> bool:
        """Whether instances get annotation rows."""
        return bool(self.categories)


_BLOCK = (Piece((0, 0, 0), (1, 1, 1)),)
_BICYCLE = (
    Piece((0.31, 0, -0.2), (0.38, 0.12, 0.6)),
    Piece((-0.31, 0, -0.2), (0.38, 0.12, 0.6)),
    Piece((0, 0, 0.05), (0.5, 0.2, 0.3), 0.8),
    Piece((0.25, 0, 0.35), (0.08, 1, 0.3), 0.6),
)
_MOTORCYCLE = (
    Piece((0, 0, -0.2), (1, 0.35, 0.6)),
    Piece((-0.15, 0, 0.15), (0.5, 0.5, 0.2), 0.6),
    Piece((0.28, 0, 0.25), (0.12, 1, 0.5), 0.8),
)

DETECTED: tuple[Kind, ...] = (
    Kind(
        "car",
        ("vehicle.car",),
        (4.6, 1.95, 1.7),
        0.06,
        (Piece((0, 0, -0.2), (1, 1, 0.6)), Piece((-0.06, 0, 0.3), (0.55, 0.88, 0.4), 0.55)),
        (190, 60, 40),
        60.0,
        speed_mps=(1.0, 6.0),
        moving=0.6,
    ),
    Kind(
        "truck",
        ("vehicle.truck",),
        (7.0, 2.5, 2.85),
        0.08,
        (Piece((0.36, 0, -0.08), (0.28, 0.94, 0.84), 0.7), Piece((-0.16, 0, 0.06), (0.68, 1, 0.88))),
        (60, 60, 175),
        100.0,
        speed_mps=(1.0, 5.0),
        moving=0.5,
    ),
    Kind(
        "construction_vehicle",
        ("vehicle.construction",),
        (6.5, 2.75, 3.2),
        0.08,
        (
            Piece((-0.15, 0, -0.3), (0.7, 1, 0.4)),
            Piece((-0.28, 0, 0.15), (0.35, 0.7, 0.5), 0.7),
            Piece((0.28, 0, 0.25), (0.44, 0.25, 0.5), 1.1),
        ),
        (20, 170, 225),
        140.0,
        speed_mps=(0.5, 1.5),
        moving=0.3,
    ),
    Kind(
        "bus",
        ("vehicle.bus.rigid", "vehicle.bus.bendy"),
        (11.0, 2.9, 3.45),
        0.05,
        (
            Piece((0, 0, -0.27), (1, 1, 0.46)),
            Piece((0, 0, 0.14), (0.99, 0.97, 0.36), 0.5),
            Piece((0, 0, 0.41), (1, 1, 0.18)),
        ),
        (70, 180, 70),
        180.0,
        speed_mps=(1.0, 5.0),
        moving=0.5,
    ),
    Kind(
        "trailer",
        ("vehicle.trailer",),
        (11.5, 2.85, 3.85),
        0.06,
        (Piece((0, 0, 0.14), (1, 1, 0.72)), Piece((-0.28, 0, -0.36), (0.36, 0.9, 0.28), 0.4)),
        (205, 200, 205),
        220.0,
        speed_mps=(0.5, 2.5),
        moving=0.2,
    ),
    Kind(
        "barrier",
        ("movable_object.barrier",),
        (0.55, 2.4, 1.0),
        0.06,
        (Piece((0, 0, -0.3), (1, 1, 0.4)), Piece((0, 0, 0.2), (0.45, 1, 0.6), 1.15)),
        (150, 120, 200),
        40.0,
    ),
    Kind(
        "motorcycle",
        ("vehicle.motorcycle",),
        (2.1, 0.8, 1.5),
        0.06,
        _MOTORCYCLE,
        (150, 40, 150),
        85.0,
        moving_pieces=(*_MOTORCYCLE[::2], Piece((-0.1, 0, 0.2), (0.3, 0.75, 0.6), 0.8)),
        speed_mps=(1.5, 5.0),
        moving=0.6,
    ),
    Kind(
        "bicycle",
        ("vehicle.bicycle",),
        (1.7, 0.62, 1.35),
        0.06,
        _BICYCLE,
        (170, 170, 30),
        120.0,
        moving_pieces=(*_BICYCLE[:2], Piece((-0.05, 0, 0.18), (0.3, 0.8, 0.64), 0.8)),
        speed_mps=(1.5, 4.0),
        moving=0.6,
    ),
    Kind(
        "pedestrian",
        (
            "human.pedestrian.adult",
            "human.pedestrian.child",
            "human.pedestrian.construction_worker",
            "human.pedestrian.police_officer",
        ),
        (0.7, 0.68, 1.76),
        0.07,
        (
            Piece((0, 0, -0.27), (0.6, 0.7, 0.46), 0.6),
            Piece((0, 0, 0.15), (0.8, 1, 0.38)),
            Piece((0, 0, 0.42), (0.4, 0.4, 0.16), 1.2),
        ),
        (120, 160, 230),
        20.0,
        speed_mps=(0.6, 1.6),
        moving=0.6,
        road_aligned=False,
    ),
    Kind(
        "traffic_cone",
        ("movable_object.trafficcone",),
        (0.42, 0.42, 1.05),
        0.05,
        (Piece((0, 0, -0.43), (1, 1, 0.14), 0.6), Piece((0, 0, 0.07), (0.6, 0.6, 0.86))),
        (20, 100, 250),
        250.0,
        road_aligned=False,
    ),
)

RACK = Kind(
    "bicycle_rack",
    (BICYCLE_RACK,),
    (3.5, 1.8, 1.4),
    0.1,
    (Piece((0, 0.3, -0.1), (1, 0.1, 0.8)), Piece((0, -0.3, -0.1), (1, 0.1, 0.8)), Piece((0, 0, 0), (0.1, 1, 1))),
    (110, 110, 100),
    70.0,
)
BUILDING = Kind("building", (), (14.0, 8.0, 7.0), 0.25, _BLOCK, (110, 125, 140), 30.0)

# How often a class is drawn beyond the first instance of it, in the order of `DETECTED`.
EXTRA_WEIGHTS = (0.32, 0.07, 0.03, 0.04, 0.03, 0.13, 0.05, 0.05, 0.2, 0.08)
