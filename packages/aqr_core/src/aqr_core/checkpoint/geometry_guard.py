"""Refuses weights whose geometry is not the model's: every shape fits and every position is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from aqr_core.checkpoint.folder import CONFIG, WEIGHTS
from aqr_core.checkpoint.read import WeightsFile
from aqr_core.errors import CheckpointError
from aqr_core.models.geometry import BevGeometry

_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
# 1024 cells over a range of 1080, BEV codes stretched from 0.8 m to 108 / 128 m.
UPSTREAM_0100 = BevGeometry(_RANGE, (0.1, 0.1, 0.2), (41, 1024, 1024), (0.84375, 0.84375))
UPSTREAM_0075 = BevGeometry(_RANGE, (0.075, 0.075, 0.2), (41, 1440, 1440), (0.6, 0.6))
METRIC_0100 = BevGeometry((-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), (0.1, 0.1, 0.2), (41, 1024, 1024), (0.8, 0.8))
_CONFIGS = {
    UPSTREAM_0100: "cmt_voxel0100_r50_800x320_cbgs",
    UPSTREAM_0075: "cmt_voxel0075_vov_1600x640_cbgs",
    METRIC_0100: "cmt_voxel0100_r50_800x320_cbgs_metric",
}
# What has learned the geometry, with its shape in every model that upstream released.
_QUERIES, _BEV_CODE = "pts_bbox_head.reference_points.weight", "pts_bbox_head.bev_embedding.0.weight"
_UPSTREAM_SHAPES = {_QUERIES: (900, 3), _BEV_CODE: (256, 512)}


def check_geometry(
    file: WeightsFile,
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    assume_geometry: bool,
) -> tuple[str, ...]:
    """Compare the file's geometry with the model's.

    Only where the tensors that learned it are loaded, and the model has a `geometry`. A file that says nothing and has
    the size of upstream's head is upstream's; one of another size is loaded as it is.

    Args:
        file: for what it says.
        tensors: those about to be loaded, by the model's names.
        model: the detector.
        assume_geometry: a file that says nothing was trained with the model's geometry.

    Returns:
        what was taken for granted, for the report.

    Raises:
        CheckpointError: they differ.
    """
    own: BevGeometry | None = getattr(model, "geometry", None)
    if own is None or not any(key in tensors for key in _UPSTREAM_SHAPES):
        return ()
    if file.geometry is not None:
        if file.geometry.fits(own):
            return ()
        raise CheckpointError(
            f"{file.path} was trained with {file.geometry}, but the model has {own}: every box would be displaced; "
            f"{_remedy(file)}."
        )
    if assume_geometry:
        return (f"geometry not stated by the file, assumed: {own}",)
    if any(key in tensors and tuple(tensors[key].shape) != shape for key, shape in _UPSTREAM_SHAPES.items()):
        return ()
    upstream = next((geometry for geometry in (UPSTREAM_0100, UPSTREAM_0075) if geometry.fits(own)), None)
    if upstream is not None:
        return (f"geometry not stated by the file, taken as upstream's: {own}",)
    raise CheckpointError(
        f"{file.path} does not state its geometry and has the size of upstream's weights ({UPSTREAM_0100}; or voxels "
        f"of 0.075 m), but the model has {own}; use config {_CONFIGS[UPSTREAM_0100]} or, if it was trained with this "
        "one, convert it by `aqr convert --assume-geometry`."
    )


def _remedy(file: WeightsFile) -> str:
    config = file.path.with_name(CONFIG)
    if file.path.name == WEIGHTS and config.is_file():
        return f"use its own config {config}"
    name = None if file.geometry is None else _CONFIGS.get(file.geometry)
    return f"use config {name}" if name else "use the config it was trained with"
