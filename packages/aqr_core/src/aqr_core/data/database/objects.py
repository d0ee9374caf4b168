"""One object database, whoever wrote it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from aqr_core.data.database.mmdet3d import LooseFiles, open_dbinfos
from aqr_core.data.database.packed import PackedFiles, open_packed
from aqr_core.data.database.table import ObjectTable
from aqr_core.errors import DataError


class ObjectDatabase:
    """The objects of a training split.

    Arrays and files are memory mapped where the form allows; pickling sends the path of a packed database and nothing
    else, so that DataLoader workers share the pages.

    Attributes:
        path: folder, or pickle.
        classes: names that `labels` counts.
        boxes: (n, 9) float64, LiDAR frame of the object's keyframe, gravity centre, the convention of `boxes3d`;
            velocity NaN where unknown. Read only.
        labels: (n,) int64.
        num_points: (n,) int64.
        difficulty: (n,) int64, -1 what a sampler should leave out, 0 where the source does not say.
        with_image: (n,) bool, objects with an image crop; no camera shows the others well.
        has_images: whether there are image crops at all.
    """

    def __init__(self, path: Path, table: ObjectTable, files: PackedFiles | LooseFiles) -> None:
        self.path = path
        self.classes = table.classes
        self.boxes = table.boxes
        self.labels = table.labels
        self.num_points = table.num_points
        self.difficulty = table.difficulty
        self.with_image = table.with_image
        self.has_images = table.has_images
        self._files = files

    @classmethod
    def open(
        cls, path: str | Path, *, dataroot: str | Path | None = None, box_convention: str | None = None
    ) -> ObjectDatabase:
        """Open a database of any supported kind.

        Args:
            path: a folder of `aqr prepare --gt-database`, or a `*_dbinfos_*.pkl` of mmdetection3d or CMT.
            dataroot: for pickles: where the paths in it may also start; they may start beside the pickle too.
            box_convention: for pickles: 'lwh' or 'wlh' where the boxes do not tell.

        Raises:
            DataError: no such database, or one that is damaged, incomplete or wants more than containers and numpy.
        """
        path = Path(path).absolute()
        if not path.exists():
            raise DataError(f"{path} does not exist; make it with `aqr prepare --gt-database`, or correct the path.")
        if path.is_file():
            return cls(path, *open_dbinfos(path, None if dataroot is None else Path(dataroot), box_convention))
        return cls(path, *open_packed(path))

    def __len__(self) -> int:
        return len(self.labels)

    def points(self, index: int) -> np.ndarray:
        """(P, 5) float32 x, y, z [m] about the gravity centre along the axes of the LiDAR, intensity, age [s]; a copy.

        Raises:
            DataError: a file of the object is missing or damaged.
        """
        return self._files.points(index)

    def image(self, index: int) -> np.ndarray | None:
        """(h, w, 3) uint8 BGR, the object in the camera that shows it largest; None where none shows it well.

        Raises:
            DataError: a file of the object is missing or damaged.
        """
        return self._files.image(index)

    def stored_image(self, index: int) -> bytes:
        """The same as a JPEG or PNG file, as it is stored; empty where there is none.

        Raises:
            DataError: a file of the object is missing.
        """
        return self._files.stored_image(index)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._files, PackedFiles):
            return ObjectDatabase.open, (self.path,)
        table = ObjectTable(**{field.name: getattr(self, field.name) for field in fields(ObjectTable)})
        return ObjectDatabase, (self.path, table, self._files)
