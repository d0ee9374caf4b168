"""The part of a detector's geometry that its weights have learned and its state dict does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from aqr_core.models.bev_cells import BevCells

_DIGITS = 6  # micrometres: what is closer is the same
_HEAD_STRIDE = 8  # default of `CmtHead.downsample_scale`


@dataclass(frozen=True)
class BevGeometry:
    """Where a detector believes its voxels and BEV cells to be; lengths in m, rounded to 1e-6.

    Weights trained with one geometry give wrong positions with another, although every shape fits.

    Attributes:
        point_cloud_range: x, y, z minimum, then maximum; also the unit of the reference points.
        voxel_size: x, y, z. Like the following None without LiDAR branch.
        sparse_shape: cells (Z, Y, X) of the sparse encoder.
        coded_cell: x, y edge of a BEV cell according to its positional code. Upstream's 0.1 m config says 0.84375 of
            cells that measure 0.8.
    """

    point_cloud_range: tuple[float, ...]
    voxel_size: tuple[float, ...] | None = None
    sparse_shape: tuple[float, ...] | None = None
    coded_cell: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, tuple(round(number, _DIGITS) for number in value))

    @classmethod
    def from_config(cls, model: Mapping[str, Any]) -> BevGeometry:
        """Of a `model` section, ours or upstream's.

        Raises:
            KeyError, TypeError, ValueError: a part is absent or of another form; not a config of this detector.
        """
        head = model["pts_bbox_head"]
        limits = _numbers(head["bbox_coder"]["pc_range"], 6)
        if model.get("pts_middle_encoder") is None:
            return cls(limits)
        voxels = model["pts_voxel_layer"]
        size = _numbers(voxels["voxel_size"], 3)
        shape = model["pts_middle_encoder"].get("sparse_shape")
        if shape is None:
            reach = _numbers(voxels["point_cloud_range"], 6)
            x, y, z = (round((reach[i + 3] - reach[i]) / size[i]) for i in range(3))
            shape = (z + 1, y, x)
        stride = head.get("downsample_scale", _HEAD_STRIDE)
        grid = next((grid for stage in _stages(model, head) if (grid := stage.get("grid_size")) is not None), None)
        cells = BevCells(limits, stride, head["bbox_coder"].get("voxel_size"), grid)
        rows, cols = (shape[1], shape[2]) if grid is None else (grid[1], grid[0])
        edge_x, edge_y = cells.coded_edge((int(rows) // stride, int(cols) // stride))
        return cls(limits, size, _numbers(shape, 3), (edge_x * cells.extent_m[0], edge_y * cells.extent_m[1]))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> BevGeometry:
        """The inverse of `record`.

        Raises:
            KeyError, TypeError, ValueError: not written by `record`.
        """
        limits, *others = (record[field.name] for field in fields(cls))
        return cls(_numbers(limits), *(None if values is None else _numbers(values) for values in others))

    def record(self) -> dict[str, list[float] | None]:
        """Plain lists, for metadata."""
        return {name: None if value is None else list(value) for name, value in asdict(self).items()}

    def fits(self, other: BevGeometry) -> bool:
        """Whether weights of one serve the other: what both have is equal."""
        pairs = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return all(a is None or b is None or a == b for a, b in pairs)

    def __str__(self) -> str:
        low, high = self.point_cloud_range[:3], self.point_cloud_range[3:]
        text = "range " + ", ".join(f"{axis} {a:g}..{b:g}" for axis, a, b in zip("xyz", low, high, strict=True)) + " m"
        if self.voxel_size is not None:
            text += f", voxels {_by(self.voxel_size)} m"
        if self.sparse_shape is not None:
            text += f", grid {_by(self.sparse_shape)}"
        if self.coded_cell is not None:
            text += f", BEV cells coded as {_by(self.coded_cell)} m"
        return text


def _stages(model: Mapping[str, Any], head: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Settings of training and test as the head sees them, in the order in which it looks for `grid_size`."""
    stages = [head.get(name) or model.get(name) or {} for name in ("train_cfg", "test_cfg")]
    return [stage.get("pts", stage) or {} for stage in stages]


def _numbers(values: Sequence[float], count: int | None = None) -> tuple[float, ...]:
    numbers = tuple(values)
    if not all(isinstance(number, int | float) for number in numbers) or count not in (None, len(numbers)):
        raise ValueError(f"{count or 'some'} numbers expected, got {numbers}")
    return numbers


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
