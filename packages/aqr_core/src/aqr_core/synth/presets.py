"""How large and how hard a synthetic world is: three named sizes of the same thing."""

from __future__ import annotations

from dataclasses import dataclass

from aqr_core.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """Everything that the size of a synthetic dataset depends on.

    Args:
        keyframes: keyframes per scene, at 2 Hz.
        objects: annotated objects of the ten classes per scene, at least one of each class.
        radius_m: objects are placed within this distance of the LiDAR, in the ground plane.
        contained: every object stays within `radius_m` for the whole scene; otherwise it is there at one moment of it.
        max_hidden: fraction of an object's width that nearer objects may hide from the LiDAR; 1 allows everything.
        one_way: everything heads roughly the ego's way, as in a one-way street; otherwise there is oncoming and
            crossing traffic, and pedestrians walk anywhere. A heading that could be its opposite is slow to learn.
        ego_speed_mps: lowest and highest speed of the ego vehicle.
        bicycle_racks: annotated boxes outside the ten classes, per scene.
        buildings: background boxes without annotation, per scene.
        azimuths: LiDAR returns per ring and turn.
        lidar_range_m: longest LiDAR range.
        image_size: width and height of the images, px; intrinsics scale with it.
        render_scale: images are rendered at this fraction of their size and enlarged.
        jpeg_quality: of the images, 0 to 100.
    """

    keyframes: int
    objects: int
    radius_m: float
    contained: bool
    max_hidden: float
    one_way: bool
    ego_speed_mps: tuple[float, float]
    bicycle_racks: int
    buildings: int
    azimuths: int
    lidar_range_m: float
    image_size: tuple[int, int]
    render_scale: float
    jpeg_quality: int


PRESETS: dict[str, Preset] = {
    "tiny": Preset(
        keyframes=6,
        objects=14,
        radius_m=28.0,
        contained=True,
        max_hidden=0.5,
        one_way=True,
        ego_speed_mps=(0.0, 3.0),
        bicycle_racks=0,
        buildings=0,
        azimuths=512,
        lidar_range_m=60.0,
        image_size=(400, 225),
        render_scale=1.0,
        jpeg_quality=90,
    ),
    "mini": Preset(
        keyframes=20,
        objects=36,
        radius_m=58.0,
        contained=False,
        max_hidden=1.0,
        one_way=False,
        ego_speed_mps=(0.0, 7.0),
        bicycle_racks=2,
        buildings=4,
        azimuths=1090,
        lidar_range_m=100.0,
        image_size=(1600, 900),
        render_scale=0.5,
        jpeg_quality=90,
    ),
    "full": Preset(
        keyframes=40,
        objects=60,
        radius_m=70.0,
        contained=False,
        max_hidden=1.0,
        one_way=False,
        ego_speed_mps=(0.0, 9.0),
        bicycle_racks=3,
        buildings=6,
        azimuths=1360,  # 34.7k returns per turn, as in nuScenes, whose files keep rays without one too
        lidar_range_m=100.0,
        image_size=(1600, 900),
        render_scale=0.5,
        jpeg_quality=80,  # 145 kB
    ),
}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
