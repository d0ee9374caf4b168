"""Named sets of sensor failures, to test a detector by. `docs/robustness.md` has the definitions and their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from aqr_core.data.faults.beams import RINGS
from aqr_core.errors import ConfigError
from aqr_eval.nuscenes.classes import CAMERAS

Step = Mapping[str, Any]
_OWN_DIRT = "masks of our own: the published ones are not ours to ship"
_OWN_SNOW = "LiDAR snow of our own: the published flakes, calibration and ground labels are not ours to ship"


@dataclass(frozen=True)
class Cell:
    """One test of a suite: a failure in one severity.

    Attributes:
        name: of the failure.
        severity: counts from 1, the mildest; 1 where there is one only.
        steps: for `with_faults`.
        sensors_lost: 'lidar', 'camera' or cameras' names, those that deliver nothing in any keyframe.
        differs: what keeps its numbers from being compared with published ones; empty where nothing but the random
            numbers differs.
    """

    name: str
    severity: int
    steps: tuple[Step, ...]
    sensors_lost: tuple[str, ...] = ()
    differs: str = ""


def suite(name: str) -> tuple[Cell, ...]:
    """The cells of a suite; without the clean test, which has no failure.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in SUITES:
        raise ConfigError(f"There is no suite '{name}'; choose among {', '.join(SUITES)}.")
    return SUITES[name]


def _cell(name: str, *steps: Step, lost: tuple[str, ...] = (), differs: str = "") -> Cell:
    return Cell(name, 1, steps, lost, differs)


def _graded(name: str, steps_of: Callable[..., tuple[Step, ...]], *severities: tuple, differs: str = "") -> list[Cell]:
    """One cell per severity, whose values are the arguments of `steps_of`."""
    return [Cell(name, i, steps_of(*values), differs=differs) for i, values in enumerate(severities, start=1)]


def _missing(*cameras: str) -> Cell:
    name = "missing_" + "_".join(camera.removeprefix("CAM_").lower() for camera in cameras)
    return _cell(name, dict(type="ViewDrop", cameras=cameras), lost=cameras)


def _every_ring(step: int) -> tuple[int, ...]:
    return tuple(range(1, RINGS, step))


_NO_LIDAR = _cell("lidar_drop", dict(type="LidarDrop"), lost=("lidar",))
_NO_CAMERA = _cell("view_drop", dict(type="CameraDrop"), lost=("camera",))
_EACH_CAMERA = tuple(_missing(camera) for camera in CAMERAS)

_NUSCENES_R = (
    _cell(
        "beam_reduction_4",
        dict(type="BeamReduction", rings=_every_ring(8)),
        differs="which four rings are kept is not published",
    ),
    _NO_LIDAR,
    _cell("limited_fov_60", dict(type="LimitedFov", limits_deg=(-60, 60))),
    _cell("limited_fov_90", dict(type="LimitedFov", limits_deg=(-90, 90))),
    _cell("object_failure", dict(type="ObjectFailure", probability=0.5)),
    _NO_CAMERA,
    *_EACH_CAMERA,
    _cell("occlusion", dict(type="Dirt"), differs=_OWN_DIRT),
    _cell("lidar_stuck", dict(type="StuckLidar", probability=0.5)),
    _cell("lidar_stuck_runs", dict(type="StuckLidar", probability=0.5, run=4)),
    _cell("camera_stuck", dict(type="StuckCameras", probability=0.5)),
    _cell("camera_stuck_runs", dict(type="StuckCameras", probability=0.5, run=4)),
    _cell("spatial_misalignment", dict(type="CameraMisalignment")),
    _cell("spatial_misalignment_shared", dict(type="CameraMisalignment", shared=True)),
)

_MULTICORRUPT = (
    *_graded("beam_reduction", lambda step: (dict(type="BeamReduction", rings=_every_ring(step)),), (2,), (4,), (8,)),
    *_graded("points_reduction", lambda share: (dict(type="PointsReduction", share=share),), (0.7,), (0.8,), (0.9,)),
    *_graded(
        "fog",
        lambda attenuation, backscatter, density, extinction: (
            dict(type="LidarFog", attenuation=attenuation, backscatter=backscatter),
            dict(type="ImageFog", density=density, extinction=extinction),
        ),
        (0.02, 0.008, 2.0, 0.0005),
        (0.03, 0.008, 3.0, 0.001),
        (0.06, 0.05, 4.0, 0.002),
    ),
    *_graded(
        "snow",
        lambda snowfall, velocity, mean, flake_px, threshold, smear_px, keep: (
            dict(type="LidarSnow", snowfall=snowfall, velocity=velocity),
            dict(type="ImageSnow", mean=mean, flake_px=flake_px, threshold=threshold, smear_px=smear_px, keep=keep),
        ),
        (0.5, 1.2, 0.3, 5, 0.9, 7, 0.9),
        (2.5, 1.6, 0.4, 4, 0.85, 8, 0.85),
        (1.5, 0.4, 0.5, 3, 0.8, 10, 0.8),
        differs=_OWN_SNOW,
    ),
    *_graded(
        "motion_blur",
        lambda std: (dict(type="LidarMotionBlur", std_m=std), dict(type="ImageMotionBlur", std_px=100 * std)),
        (0.06,),
        (0.10,),
        (0.13,),
    ),
    *_graded(
        "spatial_misalignment",
        lambda probability, angle: (dict(type="LidarMisalignment", probability=probability, angle_deg=angle),),
        (0.2, 1),
        (0.4, 2),
        (0.6, 3),
    ),
    *_graded(
        "temporal_misalignment",
        lambda probability: (
            dict(type="StuckLidar", probability=probability, keep_motion=True),
            dict(type="StuckCameras", probability=probability),
        ),
        (0.2,),
        (0.4,),
        (0.6,),
    ),
    *_graded("missing_camera", lambda share: (dict(type="ViewDrop", probability=share),), (0.2,), (0.4,), (0.6,)),
    *_graded("brightness", lambda gain: (dict(type="Brightness", gain=gain),), (0.1,), (0.3,), (0.5,)),
    *_graded(
        "darkness",
        lambda brightest, photons, noise: (dict(type="Darkness", brightest=brightest, photons=photons, noise=noise),),
        (0.6, 250, 0.008),
        (0.4, 120, 0.018),
        (0.3, 50, 0.026),
    ),
)

_MODALITY = (
    _NO_LIDAR,
    _NO_CAMERA,
    *_EACH_CAMERA,
    _missing("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT"),
    _missing("CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT"),
)

SUITES: Mapping[str, tuple[Cell, ...]] = MappingProxyType(
    {"nuscenes-r": _NUSCENES_R, "multicorrupt": _MULTICORRUPT, "modality": _MODALITY}
)
