"""CMT detectors with adaptive query routing, their data contracts and the synthetic nuScenes."""

__version__ = "0.1.0"
