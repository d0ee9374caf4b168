"""Sensor failures as transforms, by published definitions, and the suites that test a detector by them.

Importing this package registers them. `with_faults` puts them into the pipeline of a test set; in training a
`RandomFault` goes where its failures go.
"""

from aqr_core.data.faults.alignment import CameraMisalignment, LidarMisalignment
from aqr_core.data.faults.beams import BeamReduction, PointsReduction
from aqr_core.data.faults.blur import ImageMotionBlur, LidarMotionBlur
from aqr_core.data.faults.dirt import Dirt, dirt_mask
from aqr_core.data.faults.drops import CameraDrop, LidarDrop, ViewDrop
from aqr_core.data.faults.fault import CameraFault, Fault, ImageFault, Place, RawPointFault
from aqr_core.data.faults.image_weather import ImageFog, ImageSnow
from aqr_core.data.faults.lidar_fog import LidarFog
from aqr_core.data.faults.lidar_snow import LidarSnow
from aqr_core.data.faults.light import Brightness, Darkness
from aqr_core.data.faults.placement import with_faults
from aqr_core.data.faults.random_fault import RandomFault
from aqr_core.data.faults.regions import LimitedFov, ObjectFailure
from aqr_core.data.faults.stuck import StuckCameras, StuckLidar
from aqr_core.data.faults.suites import SUITES, Cell, suite

__all__ = [
    "SUITES",
    "BeamReduction",
    "Brightness",
    "CameraDrop",
    "CameraFault",
    "CameraMisalignment",
    "Cell",
    "Darkness",
    "Dirt",
    "Fault",
    "ImageFault",
    "ImageFog",
    "ImageMotionBlur",
    "ImageSnow",
    "LidarDrop",
    "LidarFog",
    "LidarMisalignment",
    "LidarMotionBlur",
    "LidarSnow",
    "LimitedFov",
    "ObjectFailure",
    "Place",
    "PointsReduction",
    "RandomFault",
    "RawPointFault",
    "StuckCameras",
    "StuckLidar",
    "ViewDrop",
    "dirt_mask",
    "suite",
    "with_faults",
]
