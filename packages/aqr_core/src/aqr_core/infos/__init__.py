"""Infos: one record per keyframe, built from the nuScenes tables or read from mmdet3d pickles."""

from aqr_core.infos.build import build_infos
from aqr_core.infos.reader import Infos, open_infos
from aqr_core.infos.schema import CameraInfo, GroundTruth, Info, InfosHeader, LidarInfo, SweepInfo

__all__ = [
    "CameraInfo",
    "GroundTruth",
    "Info",
    "Infos",
    "InfosHeader",
    "LidarInfo",
    "SweepInfo",
    "build_infos",
    "open_infos",
]
