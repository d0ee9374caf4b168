"""Images of the world: boxes in depth order on textured ground under a sky, lit by a sun, with noise."""

from __future__ import annotations

import cv2
import numpy as np

from aqr_core.synth.raycast import GROUND, RayGrid, cast
from aqr_core.synth.rig import Camera
from aqr_core.synth.world import World

_AMBIENT = 0.55
_NOISE_LEVELS = 6.0
_MARGIN = 64  # px that the noise is larger than the image, so that it can be shifted
_TEXTURE_CELL_M = 0.15
_TEXTURE_CELLS = 512
_TEXTURE_FADE_M = 12.0
_FARTHEST_SLOPE = 1e-3  # texture coordinates stay finite at the horizon
_SKY_HORIZON_BGR = np.array([225, 215, 205], dtype=np.float32)
_SKY_ZENITH_BGR = np.array([235, 170, 110], dtype=np.float32)
_GROUND_BGR = np.array([88, 90, 92], dtype=np.float32)
# Front, back, left, right, roof, floor: a bright front and a dark back show the heading.
_FACE_TONE = np.array([1.2, 0.75, 1.0, 1.0, 1.0, 0.6])


class CameraRenderer:
    """Renders one camera of the rig; what does not change from image to image is computed once.

    Args:
        camera: mount and intrinsics.
        image_size: (width, height) of the images, px.
        render_scale: rays per pixel along each axis; below 1 the picture is enlarged.
    """

    def __init__(self, camera: Camera, image_size: tuple[int, int], render_scale: float = 1.0) -> None:
        self._mount = camera.mount
        self._image_size = image_size
        width, height = (round(side * render_scale) for side in image_size)
        intrinsic = camera.intrinsic(width)
        right = (np.arange(width) + 0.5 - intrinsic[0, 2]) / intrinsic[0, 0]
        down = (np.arange(height) + 0.5 - intrinsic[1, 2]) / intrinsic[1, 1]
        self._grid = RayGrid(np.stack([np.ones(width), -right], axis=1), -down)  # t is the depth

        looks = np.random.default_rng(0)  # the same noise and asphalt for everyone; scenes shift them
        self._noise = looks.normal(0, _NOISE_LEVELS, (height + _MARGIN, width + _MARGIN, 3)).astype(np.float32)
        self._texture = _asphalt(looks)
        self._horizon = int(np.count_nonzero(down <= 0))
        sky = np.clip(-down[: self._horizon, None] / 0.4, 0, 1).astype(np.float32)
        sky = _SKY_HORIZON_BGR + sky * (_SKY_ZENITH_BGR - _SKY_HORIZON_BGR)
        self._sky = np.repeat(sky[:, None], width, axis=1)  # (rows above the horizon, W, 3)
        depth = camera.mount.position_m[2] / np.maximum(down[self._horizon :, None], _FARTHEST_SLOPE)
        depth = depth.astype(np.float32)  # (rows below the horizon, 1)
        self._ground_xy = depth, depth * -right.astype(np.float32)
        self._contrast = 1 / (1 + depth / _TEXTURE_FADE_M)

    def render(self, world: World, t: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture at time t, and how much of each object it shows.

        Returns:
            image: (H, W, 3) uint8 BGR.
            visible: (n,) rays that meet each object.
            silhouette: (n,) rays that would meet it if it stood alone.
        """
        position = world.ego.mounted(self._mount.position_m, t)
        yaw = world.ego.yaw(t) + self._mount.yaw_rad
        solids = world.solids(t)
        hits = cast(self._grid, position, yaw, solids, len(world.things))

        picture = np.concatenate([self._sky, self._ground(position, yaw)])
        rows, columns = np.nonzero(hits.solid > GROUND)
        solid = hits.solid[rows, columns]
        picture[rows, columns] = _paint(world)[solid, hits.faces(rows, columns)]

        up, left = rng.integers(0, _MARGIN, 2)
        picture += self._noise[up : up + picture.shape[0], left : left + picture.shape[1]]
        image = np.clip(picture, 0, 255).astype(np.uint8)
        if (image.shape[1], image.shape[0]) != self._image_size:
            image = cv2.resize(image, self._image_size, interpolation=cv2.INTER_LINEAR)
        visible = np.bincount(solids.owner[solid], minlength=len(world.things))
        return image, visible, hits.silhouette

    def _ground(self, position: np.ndarray, yaw: float) -> np.ndarray:
        """(rows below the horizon, W, 3) asphalt, fixed to the world."""
        forward, left = self._ground_xy
        start = position[:2] / _TEXTURE_CELL_M % _TEXTURE_CELLS
        cos, sin = np.float32(np.cos(yaw) / _TEXTURE_CELL_M), np.float32(np.sin(yaw) / _TEXTURE_CELL_M)
        x = (cos * forward - sin * left + np.float32(start[0])).astype(np.int32) % _TEXTURE_CELLS
        y = (sin * forward + cos * left + np.float32(start[1])).astype(np.int32) % _TEXTURE_CELLS
        shade = 1 + self._contrast * self._texture[y, x]
        return shade[..., None] * _GROUND_BGR


def _paint(world: World) -> np.ndarray:
    """(M, 6, 3) float32 BGR of each face of each box: own colour, lit by the sun."""
    colour = np.array([thing.colour_bgr * piece.tone for thing, piece in world.surfaces])  # (M, 3)
    yaw = np.array([thing.yaw for thing, _ in world.surfaces])
    towards = np.arctan2(world.light[1], world.light[0]) - yaw
    level = np.hypot(world.light[0], world.light[1])
    x, y, z = level * np.cos(towards), level * np.sin(towards), np.full_like(yaw, world.light[2])
    lit = np.stack([x, -x, y, -y, z, -z], axis=1).clip(0)  # (M, 6)
    shade = _AMBIENT + (1 - _AMBIENT) * lit
    return (colour[:, None] * (shade * _FACE_TONE)[..., None]).astype(np.float32)


def _asphalt(rng: np.random.Generator) -> np.ndarray:
    """(cells, cells) float32 relative brightness around 0: grain and patches, periodic."""
    grain = rng.normal(0, 0.12, (_TEXTURE_CELLS, _TEXTURE_CELLS))
    patches = np.kron(rng.normal(0, 0.12, (_TEXTURE_CELLS // 32, _TEXTURE_CELLS // 32)), np.ones((32, 32)))
    return (grain + patches).astype(np.float32)
